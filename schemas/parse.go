package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep a body may be nested. Nothing that we take is deeper than five levels.
const maxDepth = 64

// Parse reads exactly one JSON value, more strictly than encoding/json: no name twice in one object, valid UTF-8 only,
// nothing behind the value, at most 64 levels. Whole numbers become json.Number in their shortest form ("5" for 5.0),
// so that what is an integer to the schema is one to encoding/json; other numbers become float64.
func Parse(body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("the body is empty; JSON is expected")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", plain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body has something behind its JSON value")
	}
	return v, nil
}

func plain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends in the middle")
	}
	return err
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return array(d, depth)
		}
		return object(d, depth)
	case json.Number:
		return number(t)
	default:
		return t, nil
	}
}

func array(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, err
}

func object(d *json.Decoder, depth int) (any, error) {
	obj := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%v stands where a name should", t)
		}
		if _, twice := obj[name]; twice {
			return nil, fmt.Errorf("%q is given twice in one object", name)
		}
		if obj[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return obj, err
}

// exact is the range in which every whole float64 is the number that was written.
const exact = 1 << 53

func number(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return json.Number(strconv.FormatInt(i, 10)), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("the number %.40s is out of range", n)
	}
	if f == math.Trunc(f) && math.Abs(f) < exact {
		return json.Number(strconv.FormatInt(int64(f), 10)), nil
	}
	return f, nil
}
