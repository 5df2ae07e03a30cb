package web

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/editor"
	"plimsoll/server/web/reports"
	"plimsoll/server/web/rollout"
	"plimsoll/server/web/view"
)

// pages are all templates with the models that they show.
var pages = map[string]any{
	"fleet": fleetModel{}, "devices": devicesModel{}, "device": deviceModel{}, "raw": rawModel{}, "policies": policiesModel{}, "policy": editorModel{},
	"groups": groupsModel{}, "group": groupForm{}, "releases": releasesModel{}, "enrollment": enrollmentModel{}, "login": loginModel{}, "confirm": confirmModel{},
	"error": errorModel{}, "settings": settingsModel{}, "calendar": rollout.Calendar{}, "reports": reports.Page{}, "exemption": rollout.Exceptions{},
}

// hostile is what a Mac or an admin could write into a field.
var hostile = map[string]string{
	"a script":      `<script>alert(1)</script>`,
	"an attribute":  `"><img src=x onerror=alert(1)>`,
	"a quote":       `' onmouseover='alert(1)`,
	"an address":    `javascript:alert(1)`,
	"an end":        `</title></textarea></svg></script><img>`,
	"long":          strings.Repeat("W", 300),
	"right to left": "\u202eevil\u202c שלום \u2066x",
	"not UTF-8":     "a\xff\x00b",
	"a template":    `{{.Page}}{{template "layout" .}}`,
}

// fill puts text into every string of a value, two elements into every list and one into every map.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			b, _ := json.Marshal(map[string]string{"k": text})
			v.SetBytes(b)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), text)
		fill(v.Index(1), text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range append(slices.Clone(editor.Fields), text) {
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem, text)
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(text))
	}
}

var (
	ownScript = regexp.MustCompile(`<script src="/assets/app\.js\?v=[0-9a-f]{12}" defer></script>`)
	// In a page of ours every quote that is text is escaped, so what stands between two is the value of an attribute.
	value     = regexp.MustCompile(`"[^"]*"`)
	activeTag = regexp.MustCompile(`(?i)<script|<img|<iframe|<style|<[^>]*\s(on[a-z]+|style)\s*=`)
	activeURL = regexp.MustCompile(`(?i)\s(href|action|src|formaction)="\s*javascript:`)
	anID      = regexp.MustCompile(`\sid="([^"]*)"`)
)

func TestPagesEscapeWhatOthersWrote(t *testing.T) {
	v, err := loadPages()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range v.Names() {
		if _, ok := pages[name]; !ok {
			t.Errorf("the template %s is not held against hostile names", name)
		}
	}
	for page, zero := range pages {
		for kind, text := range hostile {
			t.Run(page+"/"+kind, func(t *testing.T) {
				model := reflect.New(reflect.TypeOf(zero)).Elem()
				fill(model, text)
				f := frame{}
				fill(reflect.ValueOf(&f).Elem().FieldByName("Title"), text)
				f.Notice, f.Who, f.Write, f.Stale, f.Paused = text, text, true, text, &pauseModel{Reason: text, By: text}
				f.Page = model.Interface()
				out, err := v.Execute(page, "layout", f)
				if err != nil {
					t.Fatal(err)
				}
				body := string(out)
				if n := len(ownScript.FindAllString(body, -1)); n != 1 {
					t.Fatalf("%d scripts of ours", n)
				}
				rest := ownScript.ReplaceAllString(body, "")
				if found := activeURL.FindString(rest); found != "" {
					t.Errorf("the page has %q", found)
				}
				if found := activeTag.FindString(value.ReplaceAllString(rest, `""`)); found != "" {
					t.Errorf("the page has %q", found)
				}
				if kind == "a template" && strings.Count(body, "<html") != 1 {
					t.Error("what was written was taken for a template")
				}
			})
		}
	}
}

// TestPagesHaveEachIDOnce also holds the empty models: the pages of a fresh server.
func TestPagesHaveEachIDOnce(t *testing.T) {
	v, err := loadPages()
	if err != nil {
		t.Fatal(err)
	}
	for page, zero := range pages {
		for _, write := range []bool{false, true} {
			out, err := v.Execute(page, "layout", frame{Title: "x", Who: "x", Write: write, Page: zero})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, m := range anID.FindAllStringSubmatch(string(out), -1) {
				if seen[m[1]] {
					t.Errorf("%s has the id %q twice", page, m[1])
				}
				seen[m[1]] = true
			}
			if page != "login" && !write && strings.Count(string(out), `<form method="post"`) > 1 &&
				!strings.Contains(string(out), "<fieldset class=\"whole\" disabled>") && page != "confirm" {
				t.Errorf("%s offers a form to somebody who may only look", page)
			}
		}
	}
}

// TestModelsTakeAnything: whatever the use cases return, a page comes of it.
func TestModelsTakeAnything(t *testing.T) {
	v, err := loadPages()
	if err != nil {
		t.Fatal(err)
	}
	w := &Web{zone: time.UTC, now: time.Now, pages: v}
	for kind, text := range hostile {
		t.Run(kind, func(t *testing.T) {
			var (
				d          fleet.Device
				plan       plan.Explanation
				served     fleet.ServedManifest
				counts     fleet.Compliance
				overview   fleet.Overview
				releases   []fleet.Release
				hold       fleet.Hold
				code       fleet.CodeInfo
				impact     fleet.Impact
				p          policy.Policy
				devices    fleet.Page[fleet.Device]
				everything = []any{&d, &plan, &served, &counts, &overview, &releases, &hold, &code, &impact, &p, &devices}
			)
			for _, one := range everything {
				fill(reflect.ValueOf(one).Elem(), text)
			}
			form, err := editor.Of(&p)
			if err != nil {
				t.Fatal(err)
			}
			shown := view.ImpactOf(&impact)
			for name, model := range map[string]any{
				"device": w.deviceModelOf(&d, &plan, &served), "fleet": fleetModelOf(counts, overview, view.Moment{}),
				"releases": releasesModel{Rows: releaseRows(releases, w.now()), Timeline: view.TimelineOf(releases, w.now()), Boards: boardGroups(releases), Holds: []holdModel{w.holdOf(&hold)}},
				"policies": policiesModelOf([]policy.Policy{p}, counts, nil), "policy": editorModel{Form: form, Impact: &shown, Words: view.PolicyWords(&p)},
				"devices": devicesModelOf(filterOf(nil), devices), "enrollment": enrollmentModel{Codes: []codeModel{w.codeOf(&code)}},
			} {
				out, err := v.Execute(name, "layout", frame{Title: "x", Who: "x", Page: model})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !utf8.Valid(out) && kind != "not UTF-8" {
					t.Errorf("%s is not UTF-8", name)
				}
			}
		})
	}
}
