package policy

import (
	"strings"
	"testing"

	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations/release"
)

func TestWhen(t *testing.T) {
	full := env{
		Serial: "C02X", Name: "mac-1", Model: "Mac16,1", Board: "J604AP", Groups: []string{"eng", "pilot"}, Major: 26, MaxMajor: 27,
		Version: macVersion{"26.4"}, Build: "25E246", Letter: "", BootstrapToken: true,
	}
	fresh := env{Serial: "C02X", Groups: []string{"eng"}, Letter: unknownLetter}
	tests := []struct {
		src            string
		e              env
		applies, known bool
	}{
		{"model startsWith 'Mac16'", full, true, true},
		{"model startsWith 'Mac14'", full, false, true},
		{"'eng' in groups", full, true, true},
		{"'lab' in groups", full, false, true},
		{"any(groups, # startsWith 'pil')", full, true, true},
		{"version < '26.10'", full, true, true},
		{"version >= '26.4.0'", full, true, true},
		{"version == '26.4.0'", full, true, true},
		{"version != '26.4.0'", full, false, true},
		{"version > '26.10'", full, false, true},
		{"version <= '9'", full, false, true},
		{"'26.10' > version", full, true, true},
		{"version == version", full, true, true},
		{"not (version < '26')", full, true, true},
		{"major == 26 and max_major > major", full, true, true},
		{"letter == ''", full, true, true},
		{"bootstrap_token", full, true, true},
		{"serial in ['C02X', 'C02Y']", full, true, true},
		{"lower(name) == 'mac-1' && build == '25E246' && board == 'J604AP'", full, true, true},
		{"serial matches '^C02'", full, true, true},
		{"major + 1 == 27", full, true, true},
		// What is not known yet makes the answer unknown, but only if it is needed.
		{"model startsWith 'Mac16'", fresh, false, false},
		{"model == ''", fresh, false, false},
		{"model != 'Mac16,1'", fresh, false, false},
		{"version < '26.10'", fresh, false, false},
		{"version != '26.10'", fresh, false, false},
		{"major < 26", fresh, false, false},
		{"max_major < 26", fresh, false, false},
		{"board in ['x']", fresh, false, false},
		{"build != 'x'", fresh, false, false},
		{"letter == ''", fresh, false, false},
		{"name == 'x'", fresh, false, false},
		{"'eng' in groups || model startsWith 'Mac16'", fresh, true, true},
		{"'lab' in groups && model startsWith 'Mac16'", fresh, false, true},
		{"serial == 'C02X' ? true : major > 3", fresh, true, true},
		{"bootstrap_token", fresh, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.src, func(t *testing.T) {
			p, err := compileWhen(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			applies, known := runWhen(&vm.VM{MemoryBudget: maxWhenMemory}, p, &tt.e)
			if applies != tt.applies || known != tt.known {
				t.Errorf("applies %v, known %v; want %v, %v", applies, known, tt.applies, tt.known)
			}
		})
	}
}

func TestWhenRefuses(t *testing.T) {
	for _, src := range []string{
		"model", "modell == 'x'", "major == '26'", "version == 26", "version + '1' == 'x'", "version startsWith '26'", "version == '26.3.1 (a)'", "'x' < version",
		"version in ['26.1']", "now() > now()", "date('2026-01-01') == date('2026-01-01')", "duration('1h') == duration('1h')", "timezone('UTC') == nil",
		"$env.serial == 'x'", "__text(serial) == 'x'", "any(1..1000000, # > 3)", "any(groups, any(groups, # == 'x'))", "len(repeat('x', 100000000)) > 3",
		"fromJSON('{}') == nil", "model ==", "", strings.Repeat("a", maxWhen+1), "true" + strings.Repeat(" && true", 200), "let x = 3; x == 3", "name + name == 'ab'", "[name][0] + [name][0] == 'ab'", "serial matches name", "serial matches ('a' + name)", "any(groups, # + # == 'ab')", "let a = name; let b = a + a; b == 'x'", "'a' + 'b' == name", "groups == 'eng'", "serial matches '('",
		"v.v == ''", "version.v == 'x'", "sum(groups) > 3",
	} {
		if _, err := compileWhen(src); err == nil {
			t.Errorf("%.60q is accepted", src)
		} else if s := err.Error(); s == "" || strings.Contains(s, "__") && !strings.Contains(src, "__") || strings.Contains(s, "\n") || strings.Contains(s, "policy.") {
			t.Errorf("%.60q: the error %q is not for admins", src, s)
		}
	}
}

func BenchmarkWhen(b *testing.B) {
	p, err := compileWhen("model startsWith 'Mac16' && version < '26.10'")
	if err != nil {
		b.Fatal(err)
	}
	e := &env{Model: "Mac16,1", Version: macVersion{release.Version("26.4")}}
	machine := &vm.VM{MemoryBudget: maxWhenMemory}
	b.ReportAllocs()
	for b.Loop() {
		runWhen(machine, p, e)
	}
}
