package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completion is the command that prints a shell's completion script, made from the commands and flags themselves.
type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// place is a point in the command line that has words of its own: the commands and flags that may follow it.
type place struct {
	path         []string
	words, helps []string
}

func (p place) name() string { return strings.Join(p.path, " ") }

// Run prints the script.
func (c *completion) Run(env *Env, parsed *kong.Context) error {
	places := walk(parsed.Model.Node, nil)
	script := map[string]func(io.Writer, []place) error{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	return script(env.Out, places)
}

// walk lists the places below a command, itself first.
func walk(n *kong.Node, path []string) []place {
	p := place{path: path}
	var below []place
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		p.words, p.helps = append(p.words, child.Name), append(p.helps, child.Help)
		below = append(below, walk(child, append(path[:len(path):len(path)], child.Name))...)
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			p.words, p.helps = append(p.words, "--"+f.Name), append(p.helps, f.Help)
		}
	}
	if d := n.DefaultCmd; d != nil { // its flags need no command before them
		for _, f := range d.Flags {
			p.words, p.helps = append(p.words, "--"+f.Name), append(p.helps, f.Help)
		}
	}
	return append([]place{p}, below...)
}

// steps are the cases of a shell that finds the place: from the command so far and the next word.
func steps(places []place) string {
	var b strings.Builder
	for _, p := range places {
		if len(p.path) > 0 {
			before := strings.Join(p.path[:len(p.path)-1], " ")
			fmt.Fprintf(&b, "\t\t%q) at=%q ;;\n", before+" "+p.path[len(p.path)-1], p.name())
		}
	}
	return b.String()
}

func bashCompletion(w io.Writer, places []place) error {
	var words strings.Builder
	for _, p := range places {
		fmt.Fprintf(&words, "\t%q) words=%q ;;\n", p.name(), strings.Join(p.words, " "))
	}
	_, err := fmt.Fprintf(w, `# bash completion for plimsoll: source <(plimsoll completion bash)
_plimsoll() {
	local at="" word words=""
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case "$at $word" in
%s		esac
	done
	case "$at" in
%s	esac
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _plimsoll plimsoll
`, steps(places), words.String())
	return err
}

func zshCompletion(w io.Writer, places []place) error {
	var words strings.Builder
	for _, p := range places {
		fmt.Fprintf(&words, "\t%q) compadd -- %s ;;\n", p.name(), strings.Join(p.words, " "))
	}
	_, err := fmt.Fprintf(w, `#compdef plimsoll
# zsh completion for plimsoll: source <(plimsoll completion zsh)
_plimsoll() {
	local at="" word
	for word in "${(@)words[2,CURRENT-1]}"; do
		case "$at $word" in
%s		esac
	done
	case "$at" in
%s	esac
	[[ "${words[CURRENT]}" == -* ]] || _files
}
if [[ "$funcstack[1]" == _plimsoll ]]; then _plimsoll "$@"; else compdef _plimsoll plimsoll; fi
`, steps(places), words.String())
	return err
}

func fishCompletion(w io.Writer, places []place) error {
	var b strings.Builder
	b.WriteString("# fish completion for plimsoll: plimsoll completion fish | source\n")
	for _, p := range places {
		when := "__fish_use_subcommand"
		if len(p.path) > 0 {
			when = "__fish_seen_subcommand_from " + strings.Join(p.path, "; and __fish_seen_subcommand_from ")
		}
		for i, word := range p.words {
			help := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.helps[i])
			if flag, ok := strings.CutPrefix(word, "--"); ok {
				fmt.Fprintf(&b, "complete -c plimsoll -n '%s' -l %s -d '%s'\n", when, flag, help)
			} else {
				fmt.Fprintf(&b, "complete -c plimsoll -n '%s' -a %s -d '%s'\n", when, word, help)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
