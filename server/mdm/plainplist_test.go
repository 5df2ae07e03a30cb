package mdm

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/plist"
	"pgregory.net/rapid"

	"plimsoll/server/mdm/message"
)

const flatStart = xmlDeclaration + "\n" + plistDoctype + "\n<plist version=\"1.0\">\n<dict>\n"

// flatMessage is a message as a Mac writes it; fields are further elements.
func flatMessage(endpoint string, fields ...string) []byte {
	return []byte(flatStart + "\t<key>Endpoint</key>\n\t<string>" + endpoint + "</string>\n\t<key>MessageType</key>\n" +
		"\t<string>DeclarativeManagement</string>\n\t<key>UDID</key>\n\t<string>66ADE930-5FDF-5EC4-8429-15640684C489</string>\n" +
		strings.Join(fields, "") + "</dict>\n</plist>\n")
}

// dataField is data as a Mac writes it, in lines of 68 characters.
func dataField(b []byte) string {
	text := "\t<key>Data</key>\n\t<data>\n"
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(b)), 68) {
		text += "\t" + string(line) + "\n"
	}
	return text + "\t</data>\n"
}

func sampleReports(t testing.TB) (reports [][]byte) {
	t.Helper()
	names, err := filepath.Glob("../../status/testdata/samples/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no sample reports: %v", err)
	}
	for _, name := range names {
		report, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	return reports
}

// flatSeeds are messages that have to be read.
func flatSeeds(t testing.TB) map[string][]byte {
	t.Helper()
	seeds := map[string][]byte{
		"tokens":            flatMessage("tokens"),
		"a declaration":     flatMessage("declaration/configuration/plimsoll.status"),
		"white space":       []byte(" \n\t" + strings.ReplaceAll(string(flatMessage("tokens")), "\n", "\n \t") + "\n \t"),
		"no white space":    []byte(strings.NewReplacer("\n", "", "\t", "").Replace(string(flatMessage("status", dataField([]byte("{}")))))),
		"characters":        flatMessage(` !"#$%'()*+,-./:;=?@[\]^_{|}~` + "`"),
		"no data":           flatMessage("status", "<key>Data</key><data></data>"),
		"blank data":        flatMessage("status", "<key>Data</key><data>\n\t\n</data>"),
		"data in one line":  flatMessage("status", "<key>Data</key><data>e30=</data>"),
		"an unknown key":    flatMessage("tokens", "<key>Build</key><string>25F71</string>"),
		"an unknown truth":  flatMessage("tokens", "<key>NotOnConsole</key><true/><key>Other</key><false/>"),
		"a key of the type": flatMessage("tokens", "<key>Raw</key><string>x</string>"),
		"of nobody":         []byte(flatStart + "<key>MessageType</key><string>DeclarativeManagement</string></dict></plist>"),
		"an empty id":       []byte(flatStart + "<key>UDID</key><string></string><key>MessageType</key><string>DeclarativeManagement</string></dict></plist>"),
		"user": flatMessage("tokens", "<key>UserID</key><string>U</string><key>UserShortName</key><string>kim</string>"+
			"<key>UserLongName</key><string>Kim K.</string><key>EnrollmentID</key><string>E</string><key>EnrollmentUserID</key><string>EU</string>"),
	}
	for i, report := range sampleReports(t) {
		seeds[fmt.Sprintf("report %d", i)] = flatMessage("status", dataField(report))
		all := map[string]any{"MessageType": "DeclarativeManagement", "UDID": "A", "Endpoint": "status", "Data": report}
		for _, indent := range []string{"", "\t"} {
			b, err := plist.MarshalIndent(all, indent)
			if err != nil {
				t.Fatal(err)
			}
			seeds[fmt.Sprintf("report %d of the simulator, indented %q", i, indent)] = b
		}
	}
	return seeds
}

// checkPlainPlist fails if readPlainPlist took what the present way would not, or took it for something else.
func checkPlainPlist(t rapid.TB, body []byte) (taken bool) {
	t.Helper()
	got := readPlainPlist(body)
	if got == nil {
		return false
	}
	if err := message.Check(body); err != nil {
		t.Fatalf("read what is refused: %v\n%q", err, body)
	}
	want, err := mdm.DecodeCheckin(body)
	if err != nil {
		t.Fatalf("read what NanoMDM cannot: %v\n%q", err, body)
	}
	if !reflect.DeepEqual(any(got), want) {
		t.Fatalf("read %+v\nwant %+v\n%q", got, want, body)
	}
	return true
}

func TestPlainPlistReads(t *testing.T) {
	for name, body := range flatSeeds(t) {
		if !checkPlainPlist(t, body) {
			t.Errorf("%s: not read: %q", name, body)
		}
	}
}

func TestPlainPlistLeavesAlone(t *testing.T) {
	edit := func(old, new string) []byte {
		body := string(flatMessage("tokens", "<key>Data</key><data>e30=</data>"))
		if !strings.Contains(body, old) {
			t.Fatalf("there is no %q in the message", old)
		}
		return []byte(strings.Replace(body, old, new, 1))
	}
	for name, body := range map[string][]byte{
		"nothing":               nil,
		"a binary":              []byte("bplist00\xa1\x00\x08"),
		"another message":       edit("DeclarativeManagement", "TokenUpdate"),
		"no message type":       edit("MessageType", "MessageTypo"),
		"another case of it":    edit("MessageType", "messagetype"),
		"no declaration":        edit(xmlDeclaration, ""),
		"another encoding":      edit("UTF-8", "UTF-16"),
		"a byte order mark":     edit("<?xml", "\ufeff<?xml"),
		"no doctype":            edit(plistDoctype, ""),
		"an internal subset":    edit(`.dtd">`, `.dtd" [<!ENTITY a "b">]>`),
		"another version":       edit(`version="1.0">`, `version="1.1">`),
		"an attribute":          edit("<dict>", `<dict a="b">`),
		"a space in a tag":      edit("</dict>", "</dict >"),
		"a name space":          edit("<string>tokens</string>", "<a:string>tokens</a:string>"),
		"upper case":            edit("<string>tokens</string>", "<STRING>tokens</STRING>"),
		"tags that differ":      edit("tokens</string>", "tokens</data>"),
		"an entity":             edit("tokens", "&#116;okens"),
		"an entity in a key":    edit("Endpoint", "&#69;ndpoint"),
		"an entity in data":     edit("e30=", "e30&#61;"),
		"CDATA":                 edit("tokens", "<![CDATA[tokens]]>"),
		"the end of CDATA":      edit("tokens", "tokens]]>"),
		"a comment":             edit("<dict>", "<dict><!-- -->"),
		"a comment in a text":   edit("tokens", "tok<!-- -->ens"),
		"an instruction":        edit("<dict>", "<dict><?a b?>"),
		"not ASCII":             edit("tokens", "t\u00f6kens"),
		"not UTF-8":             edit("tokens", "t\xffkens"),
		"NUL":                   edit("tokens", "\x00tokens"),
		"DEL":                   edit("tokens", "\x7ftokens"),
		"a line in a text":      edit("tokens", "tokens\n"),
		"a carriage return":     edit("tokens", "tokens\r"),
		"returns between lines": edit("<dict>\n", "<dict>\r\n"),
		"another white space":   edit("<dict>\n", "<dict>\u00a0"),
		"a text between":        edit("<dict>", "<dict>a"),
		"an array":              edit("<string>tokens</string>", "<array><string>tokens</string></array>"),
		"a dict":                edit("<string>tokens</string>", "<dict><key>tokens</key><true/></dict>"),
		"a number":              edit("<string>tokens</string>", "<integer>1</integer>"),
		"an unknown array":      edit("<dict>", "<dict><key>a</key><array/>"),
		"unknown data":          edit("<dict>", "<dict><key>a</key><data>e30=</data>"),
		"an empty element":      edit("<string>tokens</string>", "<string/>"),
		"an open truth":         edit("<dict>", "<dict><key>a</key><true></true>"),
		"data for a text":       edit("<string>tokens</string>", "<data>e30=</data>"),
		"a truth for a text":    edit("<string>tokens</string>", "<true/>"),
		"a text for data":       edit("<data>e30=</data>", "<string>e30=</string>"),
		"a text twice":          edit("<dict>", "<dict><key>UDID</key><string>other</string>"),
		"an empty text twice":   edit("<dict>", "<dict><key>UDID</key><string></string>"),
		"data twice":            edit("<dict>", "<dict><key>Data</key><data>e30=</data>"),
		"no data, data":         edit("<dict>", "<dict><key>Data</key><data></data>"),
		"no padding":            edit("e30=", "e30"),
		"too much padding":      edit("e30=", "e30=="),
		"data after the end":    edit("e30=", "e30=e30="),
		"not base64":            edit("e30=", "e3_="),
		"a space in the base64": edit("e30=", "e3 0="),
		"an element in data":    edit("e30=", "<a>e30=</a>"),
		"two keys":              edit("<dict>", "<dict><key>a</key>"),
		"no key":                edit("<dict>", "<dict><string>a</string>"),
		"a key at the end":      edit("</dict>", "<key>a</key></dict>"),
		"two dicts":             edit("</dict>", "</dict><dict></dict>"),
		"two plists":            edit("</plist>", "</plist><plist></plist>"),
		"a text after the end":  edit("</plist>", "</plist>a"),
		"not closed":            edit("</plist>", ""),
	} {
		if checkPlainPlist(t, body) {
			t.Errorf("%s: was read: %q", name, body)
		}
	}
	body := flatMessage("tokens", dataField([]byte("{}")))
	for i := range len(body) - 1 { // the line feed at the end may be missing
		if readPlainPlist(body[:i]) != nil {
			t.Errorf("the first %d bytes of %d were read", i, len(body))
		}
	}
}

// FuzzPlainPlist reads whatever comes: what is read, NanoMDM reads too, and takes it for the same message.
func FuzzPlainPlist(f *testing.F) {
	for _, body := range flatSeeds(f) {
		f.Add(body)
		inner := strings.TrimPrefix(string(body), flatStart)
		f.Add([]byte(strings.TrimSuffix(inner, "</dict>\n</plist>\n")))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkPlainPlist(t, body)
		checkPlainPlist(t, slices.Concat([]byte(flatStart), body, []byte("</dict></plist>")))
	})
}

// Pieces of messages in any order come closer to what is read than bytes do.
func TestPlainPlistOfPieces(t *testing.T) {
	pieces := []string{
		"<key>UDID</key>", "<key>Endpoint</key>", "<key>MessageType</key>", "<key>Data</key>", "<key>Other</key>", "<key>", "</key>",
		"<string>DeclarativeManagement</string>", "<string>tokens</string>", "<string></string>", "<string>", "</string>", "<data>", "</data>",
		"<data>e30=</data>", "<data> e3\n\t0=\n</data>", "<data></data>", "<true/>", "<false/>", "<dict>", "</dict>", "<array/>", "</plist>",
		" ", "\n", "\t", "\r", "e30=", "=", "&lt;", "]]>", "<!-- -->", "\x00", "\u00e9",
	}
	whole := []string{
		"<key>MessageType</key><string>DeclarativeManagement</string>", "<key>UDID</key><string>A</string>", "<key>Endpoint</key>\n<string>status</string>",
		"<key>Data</key><data>e30=</data>", "<key>Other</key><true/>",
	}
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		parts := slices.Concat(rapid.SliceOfNDistinct(rapid.SampledFrom(whole), 1, -1, rapid.ID).Draw(t, "fields"),
			rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 4).Draw(t, "pieces"))
		parts = rapid.Permutation(parts).Draw(t, "order")
		if checkPlainPlist(t, []byte(flatStart+strings.Join(parts, "")+"</dict></plist>")) {
			read++
		}
	})
	if read == 0 {
		t.Error("nothing was read: the pieces test nothing")
	}
}

// answering answers declarative management, or does not.
type answering struct {
	service.NopService
	err error
}

func (a *answering) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	return []byte(m.Endpoint + string(m.Data)), a.err
}

// Whichever way a message is read, it is answered the same, and refused with the same words.
func TestPlainPlistIsServedAlike(t *testing.T) {
	for name, tt := range map[string]struct {
		body []byte
		err  error
	}{
		"answered":  {flatMessage("tokens", dataField([]byte("{}"))), nil},
		"refused":   {flatMessage("tokens"), service.NewHTTPStatusError(http.StatusNotFound, errors.New("no"))},
		"failed":    {flatMessage("tokens"), errors.New("the store is down")},
		"of nobody": {[]byte(strings.Replace(string(flatMessage("tokens")), "UDID", "OtherID", 1)), nil},
	} {
		if readPlainPlist(tt.body) == nil {
			t.Errorf("%s: not read", name)
		}
		slow := []byte(strings.Replace(string(tt.body), "<dict>", "<dict><!-- -->", 1))
		var answers, ids [2]string
		for i, body := range [][]byte{tt.body, slow} {
			v := &visit{CheckinAndCommandService: &answering{err: tt.err}}
			answer, err := serve(v, mdm.NewRequestWithContext(context.Background(), nil), typeCheckin, body)
			answers[i], ids[i] = fmt.Sprintf("%q, %v, %d", answer, err, statusOf(err)), v.id
		}
		if answers[0] != answers[1] || ids[0] != ids[1] {
			t.Errorf("%s: %s of %q\nthe other way: %s of %q", name, answers[0], ids[0], answers[1], ids[1])
		}
	}
}

// What the command channel brings is no check-in, whatever it says.
func TestPlainPlistIsACheckin(t *testing.T) {
	v := &visit{CheckinAndCommandService: &answering{err: errors.New("taken for a check-in")}}
	answer, err := serve(v, mdm.NewRequestWithContext(context.Background(), nil), "application/x-apple-aspen-mdm", flatMessage("tokens", "<key>Status</key><string>Idle</string>"))
	if len(answer) > 0 || err != nil {
		t.Errorf("answered %q, %v", answer, err)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, body := range map[string][]byte{
		"tokens": flatMessage("tokens"),
		"report": flatMessage("status", dataField(slices.MaxFunc(sampleReports(b), func(x, y []byte) int { return len(x) - len(y) }))),
	} {
		b.Run(name+"/flat", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if readPlainPlist(body) == nil {
					b.Fatal("not read")
				}
			}
		})
		b.Run(name+"/nanomdm", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if message.Check(body) != nil {
					b.Fatal("refused")
				}
				if _, err := mdm.DecodeCheckin(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
