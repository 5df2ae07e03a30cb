package view

// Option is one choice of a select.
type Option struct {
	Value, Label string
	Selected     bool
}

// Options are choices from pairs of value and label.
func Options(selected string, pairs ...string) []Option {
	out := make([]Option, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, Option{pairs[i], pairs[i+1], pairs[i] == selected})
	}
	return out
}

// StateOptions are the choices of a state or flag, with a first one that chooses none.
func StateOptions(list []State, selected, none string) []Option {
	out := Options(selected, "", none)
	for _, s := range list {
		out = append(out, Option{s.Name, s.Label, s.Name == selected})
	}
	return out
}
