package plan

import (
	"encoding/json"
	"testing"

	"plimsoll/declarations/policy"
)

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"name":"p","assign":{"when":"major > 14"},"updates":{"mode":"automatic","within_days":14},"settings":{"AutomaticActions":{"Download":"AlwaysOn"}}}`))
	f.Add([]byte(minimum2661))
	for _, s := range somePolicies {
		f.Add([]byte(s))
	}
	w := given(f, automatic14, "2026-01-01", august...)
	b := w.book()
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p policy.Policy
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		now := at(t, "2026-08-20")
		faults, _ := policy.Validate(&p, nil, b.Book, now)
		// Whatever is stored, it compiles and plans.
		in := w.in
		in.Policies = []policy.Stored{{Policy: p, Asks: policy.Asks(nil, &p, now)}}
		book, err := Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		m := mac("26.5", "25F71")
		p2 := book.Plan(m, now)
		if len(faults) == 0 {
			checkPlan(t, book, m, now, p2)
		}
	})
}
