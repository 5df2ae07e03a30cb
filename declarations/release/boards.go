package release

import (
	_ "embed"
	"encoding/json"
	"sync"
)

// boards.json lists Apple silicon models only, and of those only the ones with a single board:
// a wrong guess would target a build that the Mac cannot take (rules 4).
//
//go:embed boards.json
var boardsJSON []byte

type machine struct {
	Model string `json:"model"`
	Board string `json:"board"`
	Name  string `json:"name"`
}

type boardTable struct {
	byModel, byBoard map[string]machine
	err              error // a test holds that there is none
}

var boardsOnce = sync.OnceValue(func() boardTable {
	var list []machine
	err := json.Unmarshal(boardsJSON, &list)
	t := boardTable{make(map[string]machine, len(list)), make(map[string]machine, len(list)), err}
	for _, m := range list {
		t.byModel[m.Model] = m
		t.byBoard[m.Board] = m
	}
	return t
})

// BoardOf is the board id of a model identifier ("Mac14,2" is "J413AP") when the program's table has it.
func BoardOf(model string) (board string, ok bool) {
	m, ok := boardsOnce().byModel[model]
	return m.Board, ok
}

// ModelOf is the model identifier and the marketing name that belong to a board id; empty when the table lacks it.
func ModelOf(board string) (model, name string) {
	m := boardsOnce().byBoard[board]
	return m.Model, m.Name
}
