package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// Answer encodes v before anything is sent, so that what cannot be encoded is an error and not half a body.
func Answer(c echo.Context, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return c.JSONBlob(status, append(b, '\n'))
}

// Show answers a GET, with an ETag. An empty one is made from the body.
func Show(c echo.Context, etag string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return Revalidate(c, etag, echo.MIMEApplicationJSON, append(b, '\n'))
}

// Revalidate sends a body, or 304 to a client that has it already.
func Revalidate(c echo.Context, etag, contentType string, body []byte) error {
	if p := Principal(c); p.Name != "" && !p.May(fleet.ScopeAdmin) {
		body = fleet.HideLinks(body)
	}
	if etag == "" {
		sum := sha256.Sum256(body)
		etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	}
	h := c.Response().Header()
	if strings.HasPrefix(c.Path(), "/v1/enrollment-codes") { // a code is a secret, which no cache may keep
		return c.Blob(http.StatusOK, contentType, body)
	}
	h.Set("ETag", etag)
	h.Set(echo.HeaderCacheControl, "private, no-cache")
	h.Add(echo.HeaderVary, "Accept, Authorization")
	if noneMatch(c.Request().Header.Values("If-None-Match"), etag) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, contentType, body)
}

// noneMatch tells whether If-None-Match names the ETag; weak and strong ones are the same here (RFC 9110, 13.1.2).
func noneMatch(headers []string, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for _, h := range headers {
		for tag := range strings.SplitSeq(h, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// List answers a page of a list, as JSON or as CSV.
func List[T any](c echo.Context, key string, page fleet.Page[T], csv func([]T) ([]byte, error)) error {
	if page.Next != "" {
		u := *c.Request().URL
		q := u.Query()
		q.Del("after")
		q.Set("cursor", page.Next)
		u.RawQuery = q.Encode()
		c.Response().Header().Set("Link", "<"+u.RequestURI()+`>; rel="next"`)
	}
	if Prefers(c, "text/csv") {
		b, err := csv(page.Items)
		if err != nil {
			return fmt.Errorf("encode the list: %w", err)
		}
		name := strings.ReplaceAll(key, "_", "-") + ".csv"
		c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`"`)
		return Revalidate(c, "", "text/csv; charset=utf-8", b)
	}
	if page.Items == nil {
		page.Items = []T{}
	}
	items, err := json.Marshal(page.Items)
	if err != nil {
		return fmt.Errorf("encode the list: %w", err)
	}
	var b bytes.Buffer
	b.WriteString(`{"` + key + `":`)
	b.Write(items)
	if page.Next != "" {
		next, err := json.Marshal(page.Next)
		if err != nil {
			return fmt.Errorf("encode the cursor: %w", err)
		}
		b.WriteString(`,"next_cursor":`)
		b.Write(next)
	}
	b.WriteString("}\n")
	return Revalidate(c, "", echo.MIMEApplicationJSON, b.Bytes())
}

// AnswerDryRun answers a write that was only tried.
func AnswerDryRun(c echo.Context, impact *fleet.Impact) error {
	return Answer(c, http.StatusOK, DryRun{Impact: impact})
}

// Deleted answers a deletion, tried or done.
func Deleted(c echo.Context, o fleet.WriteOptions, impact *fleet.Impact, err error) error {
	if err != nil {
		return err
	}
	if o.DryRun {
		return AnswerDryRun(c, impact)
	}
	return c.NoContent(http.StatusNoContent)
}

// Prefers tells whether the client names a media type and likes it at least as much as JSON.
func Prefers(c echo.Context, mediaType string) bool {
	wanted, json := -1.0, 0.0
	for _, header := range c.Request().Header.Values(echo.HeaderAccept) {
		for part := range strings.SplitSeq(header, ",") {
			name, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			q := 1.0
			if v, err := strconv.ParseFloat(params["q"], 64); err == nil {
				q = v
			}
			switch name {
			case mediaType:
				wanted = q
			case echo.MIMEApplicationJSON:
				json = q
			}
		}
	}
	return wanted > 0 && wanted >= json
}
