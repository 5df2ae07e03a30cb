package policy

import (
	"testing"

	"github.com/expr-lang/expr/vm"
)

// Whatever compiles runs within its bound of memory, and makes no text longer than the longest that it was given.
func FuzzWhen(f *testing.F) {
	for _, s := range []string{
		"model startsWith 'Mac16'", "any(groups, # == 'eng') && version < '26.4'", "let a = name; a == name", "name + name == 'ab'",
		"serial matches '^C02'", "lower(name) in ['a', 'b'] ? major + 1 > 26 : max_major == 26", "count(groups, # != 'x') == len(groups)",
	} {
		f.Add(s)
	}
	e := &env{
		Serial: "C02", Name: "name", Model: "Mac14,2", Board: "J1AP", Groups: []string{"eng", "it"}, Major: 26, MaxMajor: 26,
		Version: macVersion{"26.5"}, Build: "25F71",
	}
	f.Fuzz(func(t *testing.T, src string) {
		program, err := compileWhen(src)
		if err != nil {
			return
		}
		allocated := testing.AllocsPerRun(1, func() { runWhen(&vm.VM{MemoryBudget: maxWhenMemory}, program, e) })
		if allocated > maxWhenMemory {
			t.Errorf("%q makes %v values", src, allocated)
		}
	})
}
