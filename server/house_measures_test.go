package main_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// The measures of the house. Each test prints its figure, so that a trend shows before a bound is met.
const (
	maxPackage  = 2600 // lines of code of a package: no blanks, no comments, no tests, nothing generated
	maxBranches = 22   // of a function, plus one
	maxColumns  = 130  // of a line; a tab counts as one
	maxDensity  = 0.27 // branches for each line of code, over the whole
	maxUpward   = 15   // references from a file of a room of the fleet to files that stand on it
	minTests    = 0.8  // lines of tests for each line of a room of the fleet
)

// codeLines are the lines of a file that hold code, as text.
func codeLines(t *testing.T, f file, fset *token.FileSet) []string {
	t.Helper()
	text, err := os.ReadFile("../" + f.path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	// A comment's lines are blanked, but for the code before it.
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			from, to := fset.Position(c.Pos()), fset.Position(c.End())
			for n := from.Line; n <= to.Line; n++ {
				kept := ""
				if n == from.Line {
					kept = lines[n-1][:from.Column-1]
				}
				lines[n-1] = kept
			}
		}
	}
	return slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
}

func generated(f file) bool { return ast.IsGenerated(f.ast) }

// hold fails for each name whose figure is over the bound and over its excuse. An excuse that is larger than needed is logged.
func hold[N cmp.Ordered](t *testing.T, what string, figures map[string]N, bound N, excused map[string]N) {
	t.Helper()
	var most N
	worst := ""
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		figure := figures[name]
		if figure > most {
			most, worst = figure, name
		}
		excuse, known := excused[name]
		switch {
		case figure > bound && (!known || figure > excuse):
			t.Errorf("%s: %s has %v, more than %v", what, name, figure, max(bound, excuse))
		case known && figure < excuse:
			t.Logf("%s: %s has %v by now: write that down in place of %v", what, name, figure, excuse)
		}
	}
	for name := range excused {
		if _, there := figures[name]; !there {
			t.Logf("%s: %s needs no excuse any more", what, name)
		}
	}
	t.Logf("%s: at most %v (%s), the bound is %v, %d excused", what, most, worst, bound, len(excused))
}

func TestPackageSizes(t *testing.T) {
	folders, fset := source(t)
	sizes := map[string]int{}
	for folder, files := range folders {
		for _, f := range files {
			if !f.test && !generated(f) {
				sizes[folder] += len(codeLines(t, f, fset))
			}
		}
	}
	hold(t, "lines of a package", sizes, maxPackage, excusedPackages)
}

// branches counts the ways through a function, one more than its branches (McCabe).
func branches(n ast.Node) (count int) {
	count = 1
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CommClause:
			count++
		case *ast.CaseClause:
			if n.List != nil {
				count++
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				count++
			}
		}
		return true
	})
	return count
}

func TestBranches(t *testing.T) {
	folders, fset := source(t)
	functions := map[string]int{}
	all, lines := 0, 0
	for folder, files := range folders {
		for _, f := range files {
			if f.test || generated(f) {
				continue
			}
			lines += len(codeLines(t, f, fset))
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				n := branches(fn)
				all += n - 1
				name := folder + "." + fn.Name.Name
				if r := receiver(fn); r != "" {
					name = folder + "." + r + "." + fn.Name.Name
				}
				functions[name] = max(n, functions[name])
			}
		}
	}
	hold(t, "branches of a function", functions, maxBranches, excusedBranches)
	density := float64(all) / float64(lines)
	if density > maxDensity {
		t.Errorf("%.3f branches for each line of code, more than %v", density, maxDensity)
	}
	t.Logf("%.3f branches for each of %d lines of code, the bound is %v", density, lines, maxDensity)
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	typ := fn.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// Lines that are too long are counted by package.
func TestColumns(t *testing.T) {
	folders, _ := source(t)
	long := map[string]int{}
	longest := 0
	for folder, files := range folders {
		for _, f := range files {
			if f.test || generated(f) {
				continue
			}
			text, err := os.ReadFile("../" + f.path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				n := len([]rune(string(bytes.TrimRight(line, "\n"))))
				if longest = max(longest, n); n > maxColumns {
					long[folder]++
				}
			}
		}
	}
	hold(t, fmt.Sprintf("lines of more than %d columns in a package", maxColumns), long, 0, excusedColumns)
	t.Logf("the longest line has %d columns", longest)
}

// A lock is taken in the file that declares the type which holds it: x.mu.Lock() elsewhere is another type's business.
func TestLocks(t *testing.T) {
	folders, fset := source(t)
	outside := map[string]int{}
	locks := 0
	for folder, files := range folders {
		owners := map[string]map[string]bool{} // files by the name of a field that is a lock
		for _, f := range files {
			if f.test {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				field, ok := n.(*ast.Field)
				if ok && isMutex(field.Type) {
					for _, name := range field.Names {
						if owners[name.Name] == nil {
							owners[name.Name] = map[string]bool{}
						}
						owners[name.Name][f.path] = true
						locks++
					}
				}
				return true
			})
		}
		for _, f := range files {
			if f.test {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Lock", "RLock", "TryLock", "TryRLock"}, method.Sel.Name) {
					return true
				}
				lock, ok := method.X.(*ast.SelectorExpr)
				if ok && owners[lock.Sel.Name] != nil && !owners[lock.Sel.Name][f.path] {
					outside[folder]++
					t.Logf("%s: %s is taken outside its owner's file", fset.Position(call.Pos()), lock.Sel.Name)
				}
				return true
			})
		}
	}
	if locks < 10 {
		t.Errorf("%d locks were found: the whole module was to be read", locks)
	}
	hold(t, fmt.Sprintf("of %d locks, those taken outside their owner's file in a package", locks), outside, 0, excusedLocks)
}

func isMutex(typ ast.Expr) bool {
	s, ok := typ.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "sync" && (s.Sel.Name == "Mutex" || s.Sel.Name == "RWMutex")
}

// The rooms of the fleet stand on each other in one order: none imports one that stands on it, and the facade is imported by none.
func TestRooms(t *testing.T) {
	done := map[string]int{} // 1: being looked at, 2: done
	var visit func(room string, way []string)
	visit = func(room string, way []string) {
		switch done[room] {
		case 1:
			t.Errorf("rooms import each other in a ring: %s", strings.Join(append(way, room), " -> "))
			return
		case 2:
			return
		}
		done[room] = 1
		for _, below := range rooms[room] {
			if below == "server/fleet" {
				t.Errorf("%s imports the facade", room)
			}
			if _, is := rooms[below]; is {
				visit(below, append(way, room))
			}
		}
		done[room] = 2
	}
	for room := range rooms {
		visit(room, nil)
	}
	t.Logf("%d rooms, no import upward (TestImports holds the code to the table)", len(rooms)-1)
}

// Between two files of a room the one that is used more by the other stands below; what it uses of the other in turn points upward.
func TestReferencesUpward(t *testing.T) {
	folders, _ := source(t)
	upward := map[string]int{}
	for room := range rooms {
		declared := map[string]string{} // the file of a name of the package
		uses := map[[2]string]int{}
		for _, f := range folders[room] {
			if !f.test {
				declare(declared, f)
			}
		}
		for _, f := range folders[room] {
			if f.test {
				continue
			}
			seen := map[string]bool{}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				name := ""
				switch n := n.(type) {
				case *ast.SelectorExpr:
					name = "." + n.Sel.Name
				case *ast.Ident:
					name = n.Name
				}
				if at := declared[name]; at != "" && at != f.path && !seen[name] {
					seen[name] = true
					uses[[2]string{f.path, at}]++
				}
				return true
			})
		}
		upward[room] = 0
		for pair, n := range uses {
			if back := uses[[2]string{pair[1], pair[0]}]; pair[0] < pair[1] {
				upward[room] += min(n, back)
			}
		}
	}
	hold(t, "references upward between the files of a room", upward, maxUpward, excusedUpward)
}

// declare notes where the functions, types, values and methods of a file are declared; a method's name begins with a dot.
func declare(declared map[string]string, f file) {
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = "." + name
			}
			declared[name] = f.path
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					declared[s.Name.Name] = f.path
				case *ast.ValueSpec:
					for _, n := range s.Names {
						declared[n.Name] = f.path
					}
				}
			}
		}
	}
}

// Every room of the fleet has its tests in its own folder.
func TestRoomsHaveTests(t *testing.T) {
	folders, fset := source(t)
	least, which := 1e9, ""
	for room := range rooms {
		code, tests := 0, 0
		for _, f := range folders[room] {
			if n := len(codeLines(t, f, fset)); f.test {
				tests += n
			} else {
				code += n
			}
		}
		ratio := float64(tests) / float64(max(1, code))
		if ratio < least {
			least, which = ratio, path.Base(room)
		}
		if ratio < minTests && int(100*ratio+0.5) < excusedTests[room] || ratio < minTests && excusedTests[room] == 0 {
			t.Errorf("%s has %.2f lines of tests for each of its %d lines, less than %v", room, ratio, code, minTests)
		}
	}
	t.Logf("at least %.2f lines of tests for each line (%s), the bound is %v", least, which, minTests)
}
