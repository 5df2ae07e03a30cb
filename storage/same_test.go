package storage

import (
	"reflect"
	"testing"
	"time"

	"plimsoll/declarations/plan"
)

// Same looks at every field, so that nobody forgets one that is added.
func TestRecordSame(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	later := at.Add(time.Second)
	full := func() *Record {
		return &Record{Delayed: &plan.Delayed{Since: at}, Wish: &plan.Wish{At: at}, Exemption: &plan.Exemption{Since: at}, UpdateNow: &plan.UpdateNow{At: at}}
	}
	if !full().Same(full()) {
		t.Fatal("a record differs from its like")
	}
	aside := map[string]bool{
		"Record.LookedAt": true, "Record.Revision": true,
		// These stand beside the record.
		"Record.Exemption.Reason": true, "Record.Exemption.By": true, "Record.UpdateNow.Reason": true, "Record.UpdateNow.By": true,
	}
	seen := 0
	var walk func(path string, at func(*Record) reflect.Value)
	walk = func(path string, at func(*Record) reflect.Value) {
		r := full()
		v := at(r)
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(later))
		case v.Kind() == reflect.Pointer:
			walk(path, func(r *Record) reflect.Value { return at(r).Elem() })
			return
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(r *Record) reflect.Value { return at(r).Field(i) })
			}
			return
		case v.Kind() == reflect.Array:
			for i := range v.Len() {
				walk(path, func(r *Record) reflect.Value { return at(r).Index(i) })
			}
			return
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case v.Kind() == reflect.String:
			v.SetString("other")
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.CanInt():
			v.SetInt(7)
		case v.CanUint():
			v.SetUint(7)
		default:
			t.Fatalf("%s is a %s: teach this test", path, v.Kind())
		}
		seen++
		if same := r.Same(full()); same != aside[path] {
			t.Errorf("records that differ in %s: same is %t", path, same)
		}
	}
	walk("Record", func(r *Record) reflect.Value { return reflect.ValueOf(r).Elem() })
	if seen < 60 {
		t.Errorf("only %d fields were looked at", seen)
	}
}

func TestRecordSameForPointers(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, r := range map[string]*Record{
		"delayed": {Delayed: &plan.Delayed{Since: at}}, "wish": {Wish: &plan.Wish{At: at}},
		"exemption": {Exemption: &plan.Exemption{Since: at}}, "update now": {UpdateNow: &plan.UpdateNow{At: at}},
	} {
		if r.Same(&Record{}) || (&Record{}).Same(r) {
			t.Errorf("%s: with and without are the same", name)
		}
	}
	fraction := &Record{NextAt: at.Add(300 * time.Millisecond)}
	if !fraction.Same(&Record{NextAt: at}) {
		t.Error("a fraction of a second, which the database does not keep, makes a difference")
	}
	if (&Record{NextAt: time.Unix(0, 0)}).Same(&Record{}) {
		t.Error("1970 is taken for no time")
	}
}
