package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/proof"
	"plimsoll/server/rest"
)

// getEvidence answers the evidence pack of a closed day: without the list of Macs the same question has the same bytes.
func (a *API) getEvidence(c echo.Context) error {
	var q fleet.PatchingQuestion
	var err error
	for name, into := range map[string]*string{"from": &q.From, "to": &q.To, "sla": &q.SLA, "as_of": &q.AsOf} {
		if *into, err = rest.Query(c, name); err != nil {
			return err
		}
	}
	macs, err := rest.QueryBool(c, "macs")
	if err != nil {
		return err
	}
	if q.AsOf == "now" {
		return &fleet.Error{
			Kind: fleet.ErrInvalid, Code: "invalid", Text: "the evidence pack cannot be made",
			Fields: []policy.FieldError{{Field: "as_of", Reason: "must be a closed day: a day that is not over is no evidence"}},
		}
	}
	select {
	case a.packs <- struct{}{}:
		defer func() { <-a.packs }()
	default:
		return &rest.Problem{
			Status: http.StatusTooManyRequests, Code: "rate_limited", Text: "another evidence pack is being made; one at a time", Retry: 5,
		}
	}
	ctx := c.Request().Context()
	var contents proof.Contents
	if contents.Report, err = a.fleet.Patching(ctx, q); err != nil {
		return err
	}
	if contents.Audit, err = a.fleet.AuditOfDay(ctx, contents.Report.AsOf); err != nil {
		return err
	}
	if macs != nil && *macs {
		if contents.Macs, err = a.fleet.LateMacs(ctx, q); err != nil {
			return err
		}
	}
	body, err := proof.Pack(contents)
	if err != nil {
		return err
	}
	c.Response().Header().Set(
		echo.HeaderContentDisposition, `attachment; filename="plimsoll-evidence-`+contents.Report.AsOf.String()+`.zip"`,
	)
	return rest.Revalidate(c, "", "application/zip", body)
}
