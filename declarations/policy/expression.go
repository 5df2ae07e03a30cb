package policy

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations/release"
)

// The limits of assign.when. They keep an expression from costing more than the plan that it is part of.
const (
	maxWhen       = 2000 // characters
	maxWhenNodes  = 200
	maxWhenMemory = 10_000 // in expr's units: elements made while it runs
)

// macVersion is the version in assign.when: a type of its own, so that it is compared number by number (rules 2)
// and nothing else can be done with it by mistake.
type macVersion struct{ v release.Version }

// env is what assign.when sees of a Mac. A zero value stands for a fact that is not known yet, except where it is a fact.
type env struct {
	Serial         string     `expr:"serial"`
	Name           string     `expr:"name"`
	Model          string     `expr:"model"`
	Board          string     `expr:"board"`
	Groups         []string   `expr:"groups"`
	Major          int        `expr:"major"`
	MaxMajor       int        `expr:"max_major"`
	Version        macVersion `expr:"version"`
	Build          string     `expr:"build"`
	Letter         string     `expr:"letter"` // unknownLetter while the version is not known
	BootstrapToken bool       `expr:"bootstrap_token"`
}

const unknownLetter = "?"

// errNotKnown ends an evaluation that needs a fact that is not known yet.
var errNotKnown = errors.New("a fact that the expression needs is not known yet")

// guards are the functions that every mention of a fact goes through, so that only a fact that is really needed
// (and not short-circuited away) makes the assignment unknown.
var guards = map[string]struct {
	name string
	typ  reflect.Type
}{
	"serial": {"__text", reflect.TypeFor[string]()}, "name": {"__text", reflect.TypeFor[string]()}, "model": {
		"__text",
		reflect.TypeFor[string](),
	},
	"board": {"__text", reflect.TypeFor[string]()}, "build": {"__text", reflect.TypeFor[string]()}, "letter": {
		"__letter",
		reflect.TypeFor[string](),
	},
	"major": {"__number", reflect.TypeFor[int]()}, "max_major": {"__number", reflect.TypeFor[int]()}, "version": {
		"__version",
		reflect.TypeFor[macVersion](),
	},
}

// allowedBuiltins have no clock, no randomness, and do not make large values out of small ones.
var allowedBuiltins = []string{"all", "none", "any", "one", "count", "len", "lower", "upper", "trim", "hasPrefix", "hasSuffix"}

// compileWhen type-checks an expression. The error is a sentence for the admin.
func compileWhen(src string) (*vm.Program, error) {
	if len(src) > maxWhen {
		return nil, fmt.Errorf("must be at most %d characters long", maxWhen)
	}
	if err := checkTree(src); err != nil {
		return nil, err
	}
	facts := &guard{}
	opts := []expr.Option{
		expr.Env(env{}), expr.AsBool(), expr.MaxNodes(maxWhenNodes), expr.DisableAllBuiltins(), expr.Patch(facts),
		expr.Function("__text", known[string], new(func(string) string)),
		expr.Function("__number", known[int], new(func(int) int)),
		expr.Function("__version", known[macVersion], new(func(macVersion) macVersion)),
		expr.Function("__letter", func(args ...any) (any, error) {
			if args[0] == unknownLetter {
				return nil, errNotKnown
			}
			return args[0], nil
		}, new(func(string) string)),
	}
	for _, name := range allowedBuiltins {
		opts = append(opts, expr.EnableBuiltin(name))
	}
	for op, holds := range map[string]func(int) bool{
		"<":  func(c int) bool { return c < 0 },
		"<=": func(c int) bool { return c <= 0 },
		">":  func(c int) bool { return c > 0 },
		">=": func(c int) bool { return c >= 0 },
		"==": func(c int) bool { return c == 0 },
		"!=": func(c int) bool { return c != 0 },
	} {
		name := "__version" + op
		opts = append(opts, expr.Operator(op, name), expr.Function(name, func(args ...any) (any, error) {
			return holds(asVersion(args[0]).Compare(asVersion(args[1]))), nil
		}, new(func(macVersion, string) bool), new(func(string, macVersion) bool), new(func(macVersion, macVersion) bool)))
	}
	program, err := expr.Compile(src, opts...)
	if err != nil {
		return nil, errors.New(tidy(err))
	}
	for _, sum := range facts.sums {
		switch t := sum.Type(); {
		case t != nil && (t.Kind() == reflect.Int || t.Kind() == reflect.Float64):
		default: // on texts it makes large values out of small ones
			return nil, errors.New("the operator + is for numbers only")
		}
	}
	return program, nil
}

// known lets a value pass unless it is the zero value, which stands for "not known yet".
func known[T comparable](args ...any) (any, error) {
	var zero T
	if args[0] == any(zero) {
		return nil, errNotKnown
	}
	return args[0], nil
}

func asVersion(v any) release.Version {
	if s, ok := v.(string); ok {
		return release.Version(s)
	}
	return v.(macVersion).v
}

// tidy turns expr's error into one line without our internal names.
func tidy(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	line = strings.ReplaceAll(line, "policy.macVersion", "version")
	return strings.ReplaceAll(line, "policy.env", "a Mac")
}

// guard wraps every mention of a fact in its guard.
type guard struct {
	wrapped map[ast.Node]bool
	sums    []*ast.BinaryNode
}

// Visit is called for every node, children first.
func (g *guard) Visit(node *ast.Node) {
	if sum, ok := (*node).(*ast.BinaryNode); ok && sum.Operator == "+" {
		g.sums = append(g.sums, sum)
	}
	id, ok := (*node).(*ast.IdentifierNode)
	if !ok || g.wrapped[id] {
		return
	}
	fn, ok := guards[id.Value]
	if !ok {
		return
	}
	if g.wrapped == nil {
		g.wrapped = map[ast.Node]bool{}
	}
	g.wrapped[id] = true
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: fn.name}, Arguments: []ast.Node{id}}
	call.SetType(fn.typ)
	ast.Patch(node, call)
}

// checkTree refuses what a type check lets pass: our internal names, versions that are none, and loops that multiply.
func checkTree(src string) error {
	tree, err := parser.Parse(src)
	if err != nil {
		return errors.New(tidy(err))
	}
	c := &treeCheck{}
	ast.Walk(&tree.Node, c)
	return c.err
}

type treeCheck struct{ err error }

func (c *treeCheck) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// Visit is called for every node, children first.
func (c *treeCheck) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if strings.HasPrefix(n.Value, "__") || n.Value == "$env" {
			c.refuse("unknown name %s", n.Value)
		}
	case *ast.BinaryNode:
		switch _, literal := n.Right.(*ast.StringNode); {
		case n.Operator == "..":
			c.refuse("ranges (..) are not available")
		case n.Operator == "matches" && !literal:
			c.refuse("the right side of matches must be a text in quotes")
		}
		c.checkVersion(n.Left, n.Right)
		c.checkVersion(n.Right, n.Left)
	case *ast.VariableDeclaratorNode:
		c.refuse("let is not available")
	case *ast.PredicateNode:
		inner := &predicates{}
		ast.Walk(&n.Node, inner)
		if inner.n > 0 {
			c.refuse("a predicate within a predicate is not available")
		}
	}
}

func (c *treeCheck) checkVersion(fact, literal ast.Node) {
	id, ok := fact.(*ast.IdentifierNode)
	if !ok || id.Value != "version" {
		return
	}
	if s, ok := literal.(*ast.StringNode); ok {
		if _, err := release.ParseVersion(s.Value); err != nil {
			c.refuse(
				"version is compared with %q, which is not a version such as 26.4 (a letter is compared with letter)",
				s.Value,
			)
		}
	}
}

type predicates struct{ n int }

func (p *predicates) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		p.n++
	}
}

// runWhen evaluates an expression; known is false when it needs a fact that is not known yet, or fails.
func runWhen(machine *vm.VM, program *vm.Program, e *env) (applies, known bool) {
	out, err := machine.Run(program, e)
	if err != nil {
		return false, false
	}
	applies, known = out.(bool)
	return applies, known
}
