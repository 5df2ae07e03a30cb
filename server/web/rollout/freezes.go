package rollout

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/web/view"
)

// freezeRow is a freeze in the list.
type freezeRow struct {
	Name, Reason, From, To, For, By string
	Edit                            string // the address at which it is changed
	Strict, Past                    bool
	Open                            string // the first open day after it
	Devices                         int    // that are due on that day
}

// freezeForm is the form for a freeze, as it was typed.
type freezeForm struct {
	Original, ETag                          string // of the freeze that is changed; empty: it is new
	Name, Reason, From, To, Groups, Exclude string
	Strict                                  bool
	Known                                   []string // groups
	Faults                                  view.Faults
	General                                 string // a fault that belongs to no field
}

// freezeRows lists the freezes by their first day.
func freezeRows(k closings, due map[string]int, today release.Day) []freezeRow {
	rows := make([]freezeRow, 0, len(k.freezes))
	for i := range k.freezes {
		f := &k.freezes[i]
		row := freezeRow{
			Name: f.Name, Reason: f.Reason, From: f.From.String(), To: f.To.String(), By: f.By, Strict: f.Strict, Past: f.To < today,
			For: "every Mac", Edit: "/calendar?freeze=" + url.QueryEscape(f.Name) + "#freeze-h",
		}
		if len(f.Groups) > 0 {
			row.For = "Macs in " + view.Join(f.Groups, "or")
		}
		if len(f.ExcludeGroups) > 0 {
			row.For += ", except those in " + view.Join(f.ExcludeGroups, "or")
		}
		if !row.Past {
			row.Open = k.openAfter(f).String()
			row.Devices = due[row.Open]
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b freezeRow) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func formOf(f *policy.Freeze, etag string) freezeForm {
	return freezeForm{
		Original: f.Name, ETag: etag, Name: f.Name, Reason: f.Reason, From: f.From.String(), To: f.To.String(),
		Groups: strings.Join(f.Groups, ", "), Exclude: strings.Join(f.ExcludeGroups, ", "), Strict: f.Strict,
	}
}

// readFreeze reads the form, and says what in it is no freeze.
func readFreeze(v url.Values) (freezeForm, policy.Freeze) {
	text := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	form := freezeForm{
		Original: v.Get("original"), ETag: v.Get("etag"), Name: text("name"), Reason: text("reason"), From: text("from"),
		To: text("to"), Groups: text("groups"), Exclude: text("exclude_groups"), Strict: v.Get("strict") != "", Faults: view.Faults{},
	}
	f := policy.Freeze{
		Name: cmp.Or(form.Original, form.Name), Reason: form.Reason, Groups: view.Words(form.Groups),
		ExcludeGroups: view.Words(form.Exclude), Strict: form.Strict,
	}
	if !policy.ValidName(f.Name) {
		f.Name = cmp.Or(view.Slug(f.Name), f.Name)
	}
	for _, day := range []struct {
		name, text string
		to         *release.Day
	}{{"from", form.From, &f.From}, {"to", form.To, &f.To}} {
		var err error
		if *day.to, err = release.ParseDay(day.text); err != nil {
			form.Faults[day.name] = []string{"Must be a day such as 2026-12-19."}
		}
	}
	return form, f
}

func (r *Room) freezePut(c echo.Context) error {
	form, f := readFreeze(c.Request().PostForm)
	if len(form.Faults) > 0 {
		return r.showCalendar(c, http.StatusUnprocessableEntity, form)
	}
	o := r.o.Posted(c)
	o.IfMatch, o.Create = form.ETag, form.Original == ""
	res, err := r.o.Fleet.PutFreeze(c.Request().Context(), f, o)
	status := http.StatusConflict
	switch code := view.CodeOf(err); {
	case code == "exists":
		form.Faults["name"] = []string{"A freeze of this name exists. Change that one, or choose another name."}
	case code == "precondition_failed":
		form.General = "Somebody changed this freeze in between. Open it again to see how it stands now."
	case view.FaultsOf(err) != nil:
		status, form.Faults = http.StatusUnprocessableEntity, view.FaultsOf(err)
	default:
		w := Write{"Save the freeze " + f.Name, "/calendar", "saved", o, res.Impact, res.Warnings, err}
		return r.o.Finish(c, w)
	}
	return r.showCalendar(c, status, form)
}

func (r *Room) freezeDelete(c echo.Context) error {
	name, o := c.FormValue("name"), r.o.Posted(c)
	impact, err := r.o.Fleet.DeleteFreeze(c.Request().Context(), name, o)
	return r.o.Finish(c, Write{"Lift the freeze " + name, "/calendar", "lifted", o, impact, nil, err})
}
