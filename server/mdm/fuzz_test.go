package mdm_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/micromdm/plist"
)

// FuzzMessage sends whatever it likes in the name of an enrolled Mac: the answer is one that a Mac may get, never a fault of
// the server, and the Mac can go on afterwards.
func FuzzMessage(f *testing.F) {
	w := newWorld(f, func(s *setup) {
		s.CertHeader = "X-Client-Cert"
		s.Options.Log, s.NotifierOptions.Log = slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	})
	header := ":" + base64.StdEncoding.EncodeToString(issue(f, deviceCA(), macID, nil).Raw) + ":"
	handler := w.mdm.MDM()
	send := func(contentType string, body []byte) *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodPut, "/mdm", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("X-Client-Cert", header)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		w.pass(1e9) // not to meet the limit
		return rec
	}
	encode := func(m message) []byte {
		m["UDID"] = macID
		b, err := plist.Marshal(map[string]any(m))
		if err != nil {
			panic(err)
		}
		return b
	}
	enrol := func(t testing.TB) {
		for _, m := range []message{authenticate("26.5", "25F71"), tokenUpdate(macID), {"MessageType": "DeclarativeManagement", "Endpoint": "declaration-items"}} {
			if rec := send(checkinType, encode(m)); rec.Code != http.StatusOK {
				t.Fatalf("%s: answered %d", m["MessageType"], rec.Code)
			}
		}
	}
	enrol(f)
	for _, m := range []message{
		authenticate("14.5", "23F79"), tokenUpdate("x"),
		{"MessageType": "CheckOut"},
		{"MessageType": "GetBootstrapToken"},
		{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("b")},
		{"MessageType": "GetToken", "TokenServiceType": "x"},
		{"MessageType": "UserAuthenticate", "UserID": userID},
		{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"},
		{"MessageType": "DeclarativeManagement", "Endpoint": "declaration/configuration/plimsoll.status"},
		{"MessageType": "DeclarativeManagement", "Endpoint": "status", "Data": fullReport("C02XYZ")},
	} {
		f.Add(true, encode(m))
	}
	f.Add(false, encode(message{"Status": "Idle"}))
	f.Add(false, encode(message{"Status": "Acknowledged", "CommandUUID": "x", "QueryResponses": map[string]any{"OSVersion": "14.6"}}))
	f.Add(true, circle)
	samples, err := filepath.Glob("../../status/testdata/samples/*.json")
	check(f, err)
	for _, name := range samples {
		b, err := os.ReadFile(name)
		check(f, err)
		f.Add(true, encode(message{"MessageType": "DeclarativeManagement", "Endpoint": "status", "Data": b}))
	}
	f.Fuzz(func(t *testing.T, isCheckin bool, body []byte) {
		contentType := commandType
		if isCheckin {
			contentType = checkinType
		}
		rec := send(contentType, body)
		switch rec.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("answered %d to %q", rec.Code, body)
		}
		enrol(t)
	})
}
