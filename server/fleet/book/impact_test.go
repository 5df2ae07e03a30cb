package book

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// sudden7 hits the Macs of the group "lab" within a week.
const sudden7 = `{"name":"lab","priority":30,"assign":{"groups":["lab"]},"updates":{"mode":"automatic","within_days":7},"notice_days":2}`

// A write is confirmed when it makes more than ten Macs, and more than a twentieth of the fleet, newly due within a week (docs/api.md 3).
func TestBoundsOfTheGuard(t *testing.T) {
	for _, c := range []struct {
		fleet, hit int
		confirm    bool
	}{
		{10, 10, false}, {12, 11, true}, {12, 10, false}, {11, 11, true}, {219, 11, true}, {220, 11, false}, {221, 11, false}, {200, 11, true}, {400, 20, false}, {400, 21, true},
	} {
		t.Run(fmt.Sprint(c.hit, " of ", c.fleet), func(t *testing.T) {
			d := newDesk(t, fleetOf(c.fleet))
			members := make([]string, 0, c.hit)
			for i := range c.hit {
				members = append(members, fmt.Sprintf("S%02d", i))
			}
			d.must(third(second3(d.PutGroup(t.Context(), "lab", members, answer.WriteOptions{}))))
			_, err := d.put(sudden7, answer.WriteOptions{})
			code := ""
			if c.confirm {
				code = "confirm_required"
			}
			e := wantCode(t, "a write", err, code)
			if c.confirm && (e.Impact == nil || e.Impact.NewlyDueWithin7d != c.hit || !strings.Contains(e.Text, fmt.Sprintf("%d of %d Macs", c.hit, c.fleet))) {
				t.Errorf("%q with %+v", e.Text, e.Impact)
			}
			if stored := d.Current().Stored.Policy("lab") != nil; stored == c.confirm {
				t.Errorf("stored: %v", stored)
			}
			if c.confirm {
				if _, err := d.put(sudden7, answer.WriteOptions{Confirm: true}); err != nil || d.Current().Stored.Policy("lab") == nil {
					t.Errorf("confirmed: %v", err)
				}
			}
		})
	}
}

func second3[A, B, C any](a A, _ B, c C, err error) (A, C, error) { return a, c, err }

// mixed is a fleet of several versions, some Macs of which are not able to do anything.
func mixed(random *rand.Rand, n int) macs {
	all := fleetOf(n)
	versions := [][2]string{{"26.5", "25F71"}, {"26.6", "25G72"}, {"26.6.2", "25G83"}, {"15.7.7", "24G720"}, {"26.99", "25Z99"}, {"12.7.6", "21H1320"}}
	for _, rec := range all {
		v := versions[random.IntN(len(versions))]
		rec.Facts.Version, rec.Facts.Build = release.Version(v[0]), v[1]
		if random.IntN(6) == 0 {
			rec.Facts.Board = ""
		}
	}
	return all
}

// The impact is what a look at every Mac with the book before and after finds, whatever is written.
func TestImpactAsTheModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	fleet := mixed(random, 60)
	d := newDesk(t, fleet)
	ctx := t.Context()
	d.must(third(second3(d.PutGroup(ctx, "lab", []string{"S00", "S01", "S02", "S20", "S21"}, answer.WriteOptions{}))))
	writes := []struct {
		name string
		dry  func(o answer.WriteOptions) (*answer.Impact, error)
	}{
		{"a calm policy", func(o answer.WriteOptions) (*answer.Impact, error) { r, err := d.put(calm, o); return r.Impact, err }},
		{"a sudden one", func(o answer.WriteOptions) (*answer.Impact, error) { r, err := d.put(sudden, o); return r.Impact, err }},
		{"one for a group", func(o answer.WriteOptions) (*answer.Impact, error) { r, err := d.put(sudden7, o); return r.Impact, err }},
		{"a hold", func(o answer.WriteOptions) (*answer.Impact, error) {
			_, _, i, err := d.PutHold(ctx, "26.6.2", "VPN", false, nil, o)
			return i, err
		}},
		{"a larger group", func(o answer.WriteOptions) (*answer.Impact, error) {
			_, _, i, err := d.PutGroup(ctx, "lab", []string{"S00", "S30", "S31", "S32"}, o)
			return i, err
		}},
		{"the pause", func(o answer.WriteOptions) (*answer.Impact, error) {
			_, i, err := d.SetPause(ctx, "incident", o)
			return i, err
		}},
		{"its end", func(o answer.WriteOptions) (*answer.Impact, error) { _, i, err := d.ClearPause(ctx, o); return i, err }},
		{"the hold's end", func(o answer.WriteOptions) (*answer.Impact, error) { return d.DeleteHold(ctx, "26.6.2", o) }},
		{"no policy for the group", func(o answer.WriteOptions) (*answer.Impact, error) { return d.DeletePolicy(ctx, "lab", o) }},
		{"no group", func(o answer.WriteOptions) (*answer.Impact, error) { return d.DeleteGroup(ctx, "lab", o) }},
	}
	for _, w := range writes {
		before := d.Current()
		got, err := w.dry(answer.WriteOptions{DryRun: true})
		d.must(err)
		if d.Current().Revision != before.Revision {
			t.Fatalf("%s: a dry run wrote", w.name)
		}
		if _, err := w.dry(answer.WriteOptions{Confirm: true}); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		want := modelImpact(fleet, before, d.Current())
		if got.Devices != want.Devices || got.TokensChanged != want.TokensChanged || got.NewlyTargeted != want.NewlyTargeted ||
			got.DueWithin7d != want.DueWithin7d || got.NewlyDueWithin7d != want.NewlyDueWithin7d || got.NoLongerAsked != want.NoLongerAsked {
			t.Errorf("%s: the impact is %+v, a look at every Mac finds %+v", w.name, got, want)
		}
		targets, states := 0, 0
		for _, by := range got.ByTarget {
			targets += by.Devices
		}
		for _, n := range got.StatesAfter {
			states += n
		}
		if states != len(fleet) || targets > got.Devices || len(got.Sample) > sampleSize {
			t.Errorf("%s: %d Macs by state, %d by target, %d shown", w.name, states, targets, len(got.Sample))
		}
	}
}

// modelImpact looks at one Mac after the other.
func modelImpact(fleet macs, before, after *Current) (i answer.Impact) {
	due := func(p *plan.Plan) bool { return p.Enforced() && p.Deadline.In(time.UTC).Sub(testDay) <= 7*24*time.Hour }
	for _, rec := range fleet {
		a, b := before.Plan(planningMac(rec, before), testDay), after.Plan(planningMac(rec, after), testDay)
		name := func(p *plan.Plan) string {
			if p.Policy == nil {
				return ""
			}
			return p.Policy.Name
		}
		if a.Token == b.Token && name(a) == name(b) && a.Outcome == b.Outcome && a.Deadline == b.Deadline {
			continue
		}
		i.Devices++
		for count, is := range map[*int]bool{
			&i.TokensChanged: a.Token != b.Token, &i.NewlyTargeted: b.Enforced() && !a.Enforced(), &i.NoLongerAsked: a.Enforced() && !b.Enforced(),
			&i.DueWithin7d: due(b), &i.NewlyDueWithin7d: due(b) && !due(a),
		} {
			if is {
				*count++
			}
		}
	}
	return i
}

func planningMac(rec *storage.Record, c *Current) *plan.Mac {
	return rec.PlanningMac(false, c.SelfURL(rec))
}

// Macs within two hours of their deadline are counted as too late: macOS may enforce it all the same.
func TestTooLate(t *testing.T) {
	fleet := fleetOf(3)
	d := newDesk(t, fleet)
	fixed := `{"name":"day","priority":1,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-25T12:00:00"}}`
	if _, err := d.put(fixed, answer.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, rec := range fleet { // they were promised the day
		rec.Lanes = d.Current().Plan(planningMac(rec, d.Current()), testDay).NextLanes
	}
	for _, c := range []struct {
		left time.Duration
		want int
	}{
		{3 * time.Hour, 0}, {2 * time.Hour, 3}, {time.Hour, 3}, {0, 3}, {-2 * time.Hour, 3}, {-3 * time.Hour, 0},
	} {
		now := time.Date(2026, 8, 25, 12, 0, 0, 0, time.UTC).Add(-c.left)
		d.o.Now = func() time.Time { return now }
		impact, err := d.DeletePolicy(t.Context(), "day", answer.WriteOptions{DryRun: true})
		if err != nil || impact.TooLate != c.want {
			t.Errorf("%s before the deadline %d are too late, want %d (%v)", c.left, impact.TooLate, c.want, err)
		}
	}
}

// Validation sees the book that is in force: a policy may not name a release that only another catalogue has.
func TestValidationSeesTheBook(t *testing.T) {
	d := newDesk(t, nil)
	named := `{"name":"v","priority":6,"updates":{"mode":"minimum","version":"26.99","deadline":"2026-12-01T12:00:00"}}`
	_, err := d.put(named, answer.WriteOptions{})
	if e := wantCode(t, "an unknown version", err, "invalid"); len(e.Fields) == 0 || e.Fields[0].Field != "updates.version" {
		t.Errorf("the faulty fields are %+v", e.Fields)
	}
	d.must(d.UpdateBook(t.Context(), func(tx *storage.BookTx) error {
		cat := *tx.Catalog
		added := cat.Releases[len(cat.Releases)-1]
		added.Version, added.Build, added.Kind = "26.99", "25Z99", release.KindOS
		cat.Releases = append(append([]release.Release(nil), cat.Releases...), added)
		return tx.SetCatalog(&cat, true, testDay)
	}))
	_, err = d.put(named, answer.WriteOptions{})
	_ = wantCode(t, "once the catalogue has it", err, "")
	if p := d.Current().Stored.Policy("v"); p == nil || !p.CreatedAt.Equal(testDay) || !p.UpdatedAt.Equal(testDay) {
		t.Errorf("stored: %+v", p)
	}
}
