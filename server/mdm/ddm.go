package mdm

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"plimsoll/declarations"
	"plimsoll/server/fleet"
)

// endpoints answers the four endpoints of declarative management.
type endpoints struct{ fleet *fleet.Fleet }

// DeclarativeManagement answers one request. 404 is said only of what is not in the Mac's manifest, since it makes the Mac
// drop a declaration; 200 with an empty body of every report that was kept.
func (e endpoints) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	if r.ParentID != "" {
		return userChannel(m.Endpoint)
	}
	switch m.Endpoint {
	case "tokens":
		return e.fleet.Tokens(r.Context(), r.ID)
	case "declaration-items":
		return e.fleet.Items(r.Context(), r.ID)
	case "status":
		return nil, e.fleet.Ingest(r.Context(), r.ID, m.Data)
	}
	kind, identifier, ok := declarations.ParsePath(m.Endpoint)
	if !ok {
		return nil, unknownEndpoint(m.Endpoint)
	}
	body, err := e.fleet.Declaration(r.Context(), r.ID, kind, identifier)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil, service.NewHTTPStatusError(http.StatusNotFound, err)
	}
	return body, err
}

// userChannel answers for a user channel: software updates belong to the device, so its manifest is empty and what it
// reports is dropped.
func userChannel(endpoint string) ([]byte, error) {
	tokens, items := declarations.Nothing()
	switch endpoint {
	case "tokens":
		return tokens, nil
	case "declaration-items":
		return items, nil
	case "status":
		return nil, nil
	}
	if _, _, ok := declarations.ParsePath(endpoint); !ok {
		return nil, unknownEndpoint(endpoint)
	}
	return nil, service.NewHTTPStatusError(http.StatusNotFound, errors.New("a user channel has no declarations"))
}

func unknownEndpoint(endpoint string) error {
	if len(endpoint) > 80 {
		endpoint = endpoint[:80] + "..."
	}
	return service.NewHTTPStatusError(
		http.StatusBadRequest,
		fmt.Errorf("there is no declarative management endpoint %q", endpoint),
	)
}
