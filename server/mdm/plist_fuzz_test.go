package mdm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/plist"

	"plimsoll/server/mdm/message"
)

// taker is a service that reads of a message what this package's own services read.
type taker struct{ service.NopService }

func (*taker) Authenticate(_ *mdm.Request, m *mdm.Authenticate) error {
	message.CheckIn(m.Raw)
	return nil
}

func (*taker) CommandAndReportResults(_ *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	message.Answer(m.Raw)
	return nil, nil
}

// FuzzPlist reads whatever comes as check-in and as command answer: nothing panics, and what a service gets says who sent it.
func FuzzPlist(f *testing.F) {
	for _, m := range []map[string]any{
		{"MessageType": "Authenticate", "UDID": "A", "OSVersion": "26.5", "ProductName": "Mac14,2", "SupplementalOSVersionExtra": "(a)"},
		{"MessageType": "TokenUpdate", "UDID": "A", "UserID": "U", "Topic": "t", "PushMagic": "m", "Token": []byte("t")},
		{"MessageType": "SetBootstrapToken", "EnrollmentID": "E", "BootstrapToken": []byte("b")},
		{"MessageType": "GetToken", "UDID": "A", "TokenServiceType": "x"},
		{"UDID": "A", "Status": "Acknowledged", "CommandUUID": "C", "QueryResponses": map[string]any{"OSVersion": "26.5", "IsSupervised": true}},
		{"UDID": "A", "Status": "Error", "ErrorChain": []any{map[string]any{"ErrorCode": 12, "ErrorDomain": "D"}}},
	} {
		b, err := plist.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	reports, err := filepath.Glob("../../status/testdata/samples/*.json")
	if err != nil || len(reports) == 0 {
		f.Fatalf("there are no sample reports: %v", err)
	}
	for _, name := range reports {
		report, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		b, err := plist.Marshal(map[string]any{"MessageType": "DeclarativeManagement", "UDID": "A", "Endpoint": "status", "Data": report})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(strings.Repeat("<array>", 5000)))
	f.Add([]byte("bplist00\xa1\x00\x08"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if message.Check(body) != nil {
			return
		}
		v := &visit{CheckinAndCommandService: &taker{}}
		req := mdm.NewRequestWithContext(context.Background(), nil)
		if _, err := service.CheckinRequest(v, req, body); err == nil && v.id == "" {
			t.Errorf("a message of nobody was taken: %q", body)
		}
		v.id = ""
		if _, err := service.CommandAndReportResultsRequest(v, req, body); err == nil && v.id == "" {
			t.Errorf("an answer of nobody was taken: %q", body)
		}
	})
}
