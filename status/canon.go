package status

import (
	"bytes"
	"slices"
)

// mem is a member of an object that was written to parser.out: key is its name, out[from:to] the whole member.
type mem struct {
	key      []byte // canonical, without the quotes; lies in out
	from, to int
}

// value appends the value at i to p.out: compact, members sorted by name, strings escaped one way, cut at maxDepth, and
// without whatever does not fit its shape (nil: anything fits). A container found here is on level depth. It returns
// the index after the value, and whether anything was appended. in names the member for notes.
func (p *parser) value(i, depth int, sh *shape, in string) (end int, ok bool) {
	c := p.in[i]
	if sh != nil && !p.wrongKind(p.item, in, c, sh.kind) {
		return valueEnd(p.in, i), false
	}
	switch c {
	case '"':
		return p.str(i, sh, in)
	case '{', '[':
		if depth > maxDepth {
			p.odd(p.item, "nested too deep")
			return valueEnd(p.in, i), false
		}
		if c == '[' {
			return p.array(i, depth, sh, in), true
		}
		return p.object(i, depth, sh)
	}
	end = scalarEnd(p.in, i)
	p.out = append(p.out, p.in[i:end]...)
	return end, true
}

// quote appends the string at i in canonical form and returns the index after it.
func (p *parser) quote(i int) (end int) {
	if end = plainEnd(p.in, i+1); p.in[end] == '"' {
		end++
		p.out = append(p.out, p.in[i:end]...)
		return end
	}
	end = stringEnd(p.in, i)
	p.out = appendQuoted(p.out, unquoted(p.in[i:end]))
	return end
}

func (p *parser) str(i int, sh *shape, in string) (end int, ok bool) {
	start := len(p.out)
	end = p.quote(i)
	if sh == nil || sh.check == nil && sh.values == nil {
		return end, true
	}
	s := unquoted(p.out[start:])
	if sh.check != nil && !sh.check(s) {
		p.odd(p.item, "cannot be used: "+clip(string(s), 40))
		p.out = p.out[:start]
		p.rep.oddVersion = p.rep.oddVersion || p.item == itemVersion
		return end, false
	}
	if !sh.isKnownValue(s) {
		p.strange(p.item + "=" + clip(string(s), 80))
	}
	return end, true
}

func (p *parser) array(i, depth int, sh *shape, in string) (end int) {
	var elem *shape
	if sh != nil {
		elem = sh.elem
	}
	p.out = append(p.out, '[')
	first := len(p.out)
	for i = space(p.in, i+1); p.in[i] != ']'; {
		mark := len(p.out)
		if mark > first {
			p.out = append(p.out, ',')
		}
		var ok bool
		if i, ok = p.value(i, depth+1, elem, in); !ok {
			p.out = p.out[:mark]
		}
		i = next(p.in, i)
	}
	p.out = append(p.out, ']')
	return i + 1
}

func (p *parser) object(i, depth int, sh *shape) (end int, ok bool) {
	base, start := len(p.mems), len(p.out)
	p.out = append(p.out, '{')
	sorted := true
	for i = space(p.in, i+1); p.in[i] != '}'; {
		mark := len(p.out)
		if len(p.mems) > base {
			p.out = append(p.out, ',')
		}
		from := len(p.out)
		val := space(p.in, space(p.in, p.quote(i))+1) // behind the colon
		key := p.out[from+1 : len(p.out)-1]
		var member *shape
		if sh != nil {
			member = sh.members[string(key)]
		}
		name := ""
		if member != nil {
			name = string(key)
		}
		p.out = append(p.out, ':')
		if i, ok = p.value(val, depth+1, member, name); ok {
			if n := len(p.mems); n > base && bytes.Compare(p.mems[n-1].key, key) >= 0 {
				sorted = false
			}
			p.mems = append(p.mems, mem{key, from, len(p.out)})
		} else {
			p.out = p.out[:mark]
		}
		i = next(p.in, i)
	}
	ok = sh == nil || p.complete(sh, p.mems[base:])
	switch {
	case !ok:
		p.out = p.out[:start]
	case sorted:
		p.out = append(p.out, '}')
	default:
		p.sort(start, p.mems[base:])
		p.out = append(p.out, '}')
	}
	p.mems = p.mems[:base]
	return i + 1, ok
}

// sort brings the members written since start into the order of their names. Of two with one name the later counts.
func (p *parser) sort(start int, mems []mem) {
	slices.SortStableFunc(mems, func(a, b mem) int { return bytes.Compare(a.key, b.key) })
	p.tmp = p.tmp[:0]
	for k, m := range mems {
		if k+1 < len(mems) && bytes.Equal(m.key, mems[k+1].key) {
			p.odd(p.item, "member given twice")
			continue
		}
		if len(p.tmp) > 0 {
			p.tmp = append(p.tmp, ',')
		}
		p.tmp = append(p.tmp, p.out[m.from:m.to]...)
	}
	p.out = append(p.out[:start+1], p.tmp...)
}

// complete tells whether the members without which the object is of no use are there.
func (p *parser) complete(sh *shape, mems []mem) bool {
	for _, n := range sh.need {
		if !slices.ContainsFunc(mems, func(m mem) bool { return string(m.key) == n }) {
			p.odd(p.item, "lacks "+n)
			return false
		}
	}
	return true
}
