package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/micromdm/plist"

	"plimsoll/server/fleet"
	"plimsoll/server/rest"
	"plimsoll/server/sheet"
)

func (a *API) listAudit(c echo.Context) error {
	var q fleet.AuditQuery
	var err error
	for name, into := range map[string]*string{"actor": &q.Actor, "action": &q.Action, "object": &q.Object} {
		if *into, err = rest.Query(c, name); err != nil {
			return err
		}
	}
	if q.Since, err = rest.QueryTime(c, "since", false); err != nil {
		return err
	}
	if q.Until, err = rest.QueryTime(c, "until", true); err != nil {
		return err
	}
	if q.Limit, q.Cursor, err = rest.Paging(c); err != nil {
		return err
	}
	after, err := rest.Query(c, "after")
	if err != nil {
		return err
	}
	if rest.Prefers(c, "text/event-stream") {
		return a.streamAudit(c, after)
	}
	if after != "" {
		return rest.BadParameter("after", "is for the event stream; a list goes on with cursor")
	}
	page, err := a.fleet.Audit(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return rest.List(c, "entries", page, sheet.Table)
}

// streamAudit sends entries as they come; the id of each is its number.
func (a *API) streamAudit(c echo.Context, after string) error {
	return a.stream(c, after, a.fleet.SubscribeAudit, func(ctx context.Context, after string) (frames []frame, err error) {
		n := uint64(0)
		if after != "" {
			if n, err = strconv.ParseUint(after, 10, 64); err != nil {
				return nil, rest.BadParameter("after", "must be the number of an entry")
			}
		}
		entries, err := a.fleet.AuditAfter(ctx, n, streamPage)
		for i := range entries {
			frames = append(frames, frame{strconv.FormatUint(entries[i].N, 10), &entries[i]})
		}
		return frames, err
	})
}

func (a *API) getAuditHead(c echo.Context) error {
	head, err := a.fleet.AuditHead(c.Request().Context())
	if err != nil {
		return err
	}
	return rest.Show(c, "", head)
}

// commandActs are the acts of queueing a command: of its body the audit holds its type and its UUID. A body that is no command
// has none: it is refused.
func commandActs(c echo.Context, body []byte) (acts []fleet.Act) {
	var command struct {
		CommandUUID string
		Command     struct{ RequestType string }
	}
	if plist.Unmarshal(body, &command) != nil || command.Command.RequestType == "" {
		return nil
	}
	after := map[string]any{"uuid": rest.Cut(command.CommandUUID, 100), "request_type": rest.Cut(command.Command.RequestType, 100)}
	for id := range strings.SplitSeq(c.Param("ids"), ",") {
		acts = append(acts, fleet.Act{Action: "command.enqueue", Object: "device/" + rest.Cut(id, 100), After: after})
	}
	return acts
}

// pushCertActs is the act of storing a push certificate.
func pushCertActs(echo.Context, []byte) []fleet.Act {
	return []fleet.Act{{Action: "pushcert.put", Object: "pushcert"}}
}

// entered hands a request to a handler of NanoMDM's after its acts were entered into the audit.
func (a *API) entered(acts func(echo.Context, []byte) []fleet.Act, h http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		body, err := rest.ReadBody(c)
		if err != nil {
			return err
		}
		w := held{header: c.Response().Header(), status: http.StatusOK}
		serve := func() error {
			w.serve(c.Request(), body, h)
			if w.status >= http.StatusBadRequest {
				return errRefused
			}
			return nil
		}
		if list := acts(c, body); len(list) > 0 {
			err = a.fleet.Enter(c.Request().Context(), rest.Origin(c), serve, list...)
		} else {
			err = serve()
		}
		if err != nil && !errors.Is(err, errRefused) {
			return err
		}
		return w.answer(c)
	}
}

// errRefused says that a handler of NanoMDM's answered with an error.
var errRefused = errors.New("refused")
