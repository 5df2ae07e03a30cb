package declarations

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func mustLocal(t testing.TB, s string) Local {
	t.Helper()
	l, err := ParseLocal(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The files under testdata/golden were written by another implementation (Python's json and hashlib), and nothing here
// rewrites them: a changed byte is a changed token, and every Mac would fetch its declarations again.
func TestGoldenDeclarations(t *testing.T) {
	settings, err := SettingsDeclaration(&Settings{
		Notifications:              ptr(false),
		Deferrals:                  &Deferrals{MajorPeriodInDays: ptr(90), MinorPeriodInDays: ptr(7), SystemPeriodInDays: ptr(1)},
		AutomaticActions:           &AutomaticActions{Download: ptr(AlwaysOn), InstallOSUpdates: ptr(Allowed), InstallSecurityUpdate: ptr(AlwaysOff)},
		RapidSecurityResponse:      &RapidSecurityResponse{Enable: ptr(true), EnableRollback: ptr(false)},
		AllowStandardUserOSUpdates: ptr(true),
		Beta:                       &Beta{ProgramEnrollment: ptr(AlwaysOn), RequireProgram: &BetaProgram{Description: "macOS 27 “Beta”", Token: "abc/1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	update := Enforcement(IDOSUpdate, "26.6.2", "", mustLocal(t, "2026-09-01T12:00:00"), "")
	tests := []struct {
		file  string
		got   Declaration
		kind  Kind
		token string
	}{
		{"os-update", update, KindConfiguration, "Dfa5faj6h7qSaLVIfsRRn7b-PS6v1E7UY8MMDDLrp5A"},
		{"os-update-exact", Enforcement(IDOSUpdate, "26.0.1", "25A362", mustLocal(t, "2026-12-01T12:00:00"), "https://it.example.com/updates?a=1&b=<2>"), KindConfiguration, "QArPa8n0vZh1YdePINvTTWiTzO2hPG6sH2hiJZzGTdI"},
		{"bsi", Enforcement(IDBSI, "26.3.1", "25D771280a", mustLocal(t, "2026-03-19T12:00:00"), ""), KindConfiguration, "2e7ODiPAjRx1TEKiyeuovrYkBexpxtcTL2VlFFlp1z8"},
		{"status", Subscriptions([]string{"device.identifier.serial-number", "management.declarations", "softwareupdate.install-state"}), KindConfiguration, "h2Cn7O-zhcft0oYZqcP-DN-N6atP1sgX3d_IHwciCyU"},
		{"settings", settings, KindConfiguration, "xLC_pofjXHUVGKFItu4fn-iTPvDCvPsjDHVoqs2zhN8"},
		{"os-update.activation", Activation(update), KindActivation, "YlVy0BdMWun2EJBQxeTAFOva1slBwo5-P8eqOM8zPxs"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			want, err := os.ReadFile("testdata/golden/" + tt.file + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if string(tt.got.Body) != string(want) {
				t.Errorf("body\n got %s\nwant %s", tt.got.Body, want)
			}
			if tt.got.ServerToken != tt.token || tt.got.Kind != tt.kind {
				t.Errorf("token %q, kind %q, want %q, %q", tt.got.ServerToken, tt.got.Kind, tt.token, tt.kind)
			}
			var parts struct {
				Type, Identifier, ServerToken string
				Payload                       json.RawMessage
			}
			if err := json.Unmarshal(want, &parts); err != nil {
				t.Fatal(err)
			}
			if got := ServerToken(parts.Type, parts.Identifier, parts.Payload); got != tt.token {
				t.Errorf("ServerToken = %q, want %q", got, tt.token)
			}
			if len(parts.ServerToken) != 43 || len(parts.Identifier) > 64 {
				t.Errorf("token of %d and identifier of %d characters", len(parts.ServerToken), len(parts.Identifier))
			}
		})
	}
}

func TestDeclarationsToken(t *testing.T) {
	a := Item{KindActivation, "plimsoll.os-update.activation", "T1"}
	c := Item{KindConfiguration, "plimsoll.os-update", "T2"}
	tests := []struct {
		name       string
		items      []Item
		generation uint64
		want       string
	}{
		{"sorted", []Item{a, c}, 0, "D64lAbPYdhS_PN_GwoWZyMPLEmhMClXE6dnW3brGSY8"},
		{"order does not matter", []Item{c, a}, 0, "D64lAbPYdhS_PN_GwoWZyMPLEmhMClXE6dnW3brGSY8"},
		{"with a generation", []Item{a, c}, 3, "Hzgbfrgf08xBKkmCuxaKOX2NiragFf4Y5FgID05Ktzw"},
		{"empty", nil, 0, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},
	}
	for _, tt := range tests {
		if got := DeclarationsToken(tt.items, tt.generation); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	items := []Item{c, a}
	DeclarationsToken(items, 0)
	if items[0] != c {
		t.Error("DeclarationsToken reordered its argument")
	}
	// What the lengths are for: the parts of a triple cannot move into their neighbours.
	x := DeclarationsToken([]Item{{KindConfiguration, "ab", "c"}}, 0)
	y := DeclarationsToken([]Item{{KindConfiguration, "a", "bc"}}, 0)
	if x == y {
		t.Error("different triples have one token")
	}
}

func TestItemsJSON(t *testing.T) {
	got := ItemsJSON([]Item{{KindActivation, "a.activation", "1"}, {KindConfiguration, "a", "2"}, {KindConfiguration, "b", "3"}}, "tok")
	want := `{"Declarations":{"Activations":[{"Identifier":"a.activation","ServerToken":"1"}],"Assets":[],"Configurations":[{"Identifier":"a","ServerToken":"2"},{"Identifier":"b","ServerToken":"3"}],"Management":[]},"DeclarationsToken":"tok"}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(ItemsJSON(nil, "t")), `{"Declarations":{"Activations":[],"Assets":[],"Configurations":[],"Management":[]},"DeclarationsToken":"t"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTokensJSON(t *testing.T) {
	ts := time.Date(2026, 3, 17, 20, 40, 0, 999_999_999, time.FixedZone("", 2*3600))
	want := `{"SyncTokens":{"DeclarationsToken":"tok","Timestamp":"2026-03-17T18:40:00Z"}}`
	if got := string(TokensJSON("tok", ts)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var st SyncTokens
	if err := json.Unmarshal([]byte(want), &st); err != nil || st.SyncTokens.DeclarationsToken != "tok" {
		t.Errorf("SyncTokens = %+v, %v", st, err)
	}
}

func TestParsePath(t *testing.T) {
	tests := []struct {
		in   string
		kind Kind
		id   string
		ok   bool
	}{
		{"declaration/configuration/plimsoll.os-update", KindConfiguration, "plimsoll.os-update", true},
		{"declaration/activation/plimsoll.bsi.activation", KindActivation, "plimsoll.bsi.activation", true},
		{"declaration/asset/x", KindAsset, "x", true},
		{"declaration/management/x", KindManagement, "x", true},
		{"declaration/thing/x", "", "", false},
		{"declaration/configuration/", "", "", false},
		{"declaration/configuration/a/b", "", "", false},
		{"declaration/configuration", "", "", false},
		{"tokens", "", "", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		if kind, id, ok := ParsePath(tt.in); kind != tt.kind || id != tt.id || ok != tt.ok {
			t.Errorf("ParsePath(%q) = %q, %q, %v", tt.in, kind, id, ok)
		}
	}
}

func TestNextTimestamp(t *testing.T) {
	t0 := time.Date(2026, 9, 1, 12, 0, 0, 700, time.UTC)
	first := NextTimestamp(time.Time{}, t0)
	if !first.Equal(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)) {
		t.Fatalf("the first is %v", first)
	}
	for name, tt := range map[string]struct{ now, want time.Time }{
		"later":                  {t0.Add(90 * time.Second), time.Date(2026, 9, 1, 12, 1, 30, 0, time.UTC)},
		"within the same second": {t0.Add(time.Millisecond), time.Date(2026, 9, 1, 12, 0, 1, 0, time.UTC)},
		"the clock went back":    {t0.Add(-time.Hour), time.Date(2026, 9, 1, 12, 0, 1, 0, time.UTC)},
	} {
		if got := NextTimestamp(first, tt.now); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestManifestFind(t *testing.T) {
	m := &Manifest{Items: []Item{{KindConfiguration, "a", "1"}}}
	if it, ok := m.Find(KindConfiguration, "a"); !ok || it.ServerToken != "1" {
		t.Errorf("Find = %v, %v", it, ok)
	}
	if _, ok := m.Find(KindActivation, "a"); ok {
		t.Error("found under another kind")
	}
	if _, ok := (*Manifest)(nil).Find(KindConfiguration, "a"); ok {
		t.Error("found in no manifest")
	}
}

func TestItemsOfAreSorted(t *testing.T) {
	decls := []Declaration{{Kind: KindConfiguration, Identifier: "b"}, {Kind: KindConfiguration, Identifier: "a"}, {Kind: KindActivation, Identifier: "z"}}
	want := []Item{{KindActivation, "z", ""}, {KindConfiguration, "a", ""}, {KindConfiguration, "b", ""}}
	if diff := cmp.Diff(want, ItemsOf(decls)); diff != "" {
		t.Error(diff)
	}
	SortDeclarations(decls)
	if decls[0].Identifier != "z" || decls[1].Identifier != "a" {
		t.Errorf("SortDeclarations: %v", decls)
	}
}

func TestSettingsCheck(t *testing.T) {
	program := &BetaProgram{Description: "d", Token: "t"}
	tests := []struct {
		name string
		in   Settings
		want []string
	}{
		{"fine", Settings{Notifications: ptr(true)}, nil},
		{"empty", Settings{}, []string{""}},
		{"deferrals out of range", Settings{Deferrals: &Deferrals{MajorPeriodInDays: ptr(0), MinorPeriodInDays: ptr(91), SystemPeriodInDays: ptr(90)}}, []string{"Deferrals.MajorPeriodInDays", "Deferrals.MinorPeriodInDays"}},
		{"unknown word", Settings{AutomaticActions: &AutomaticActions{Download: ptr(Control("On")), InstallOSUpdates: ptr(Control("")), InstallSecurityUpdate: ptr(Control("alwayson"))}}, []string{"AutomaticActions.Download", "AutomaticActions.InstallOSUpdates", "AutomaticActions.InstallSecurityUpdate"}},
		{"offer by default", Settings{Beta: &Beta{OfferPrograms: []BetaProgram{*program}}}, nil},
		{"offer while off", Settings{Beta: &Beta{ProgramEnrollment: ptr(AlwaysOff), OfferPrograms: []BetaProgram{*program}}}, []string{"Beta.OfferPrograms"}},
		{"offer nothing", Settings{Beta: &Beta{OfferPrograms: []BetaProgram{}}}, []string{"Beta.OfferPrograms"}},
		{"require", Settings{Beta: &Beta{ProgramEnrollment: ptr(AlwaysOn), RequireProgram: program}}, nil},
		{"require while the user may choose", Settings{Beta: &Beta{RequireProgram: program}}, []string{"Beta.RequireProgram"}},
		{"offer and require", Settings{Beta: &Beta{ProgramEnrollment: ptr(AlwaysOn), OfferPrograms: []BetaProgram{*program}, RequireProgram: program}}, []string{"Beta.OfferPrograms"}},
		{"program without token", Settings{Beta: &Beta{OfferPrograms: []BetaProgram{{Description: "d"}}}}, []string{"Beta.OfferPrograms.0.Token"}},
		{"unknown enrolment", Settings{Beta: &Beta{ProgramEnrollment: ptr(Control("x"))}}, []string{"Beta.ProgramEnrollment"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range tt.in.Check() {
				got = append(got, f.Field)
				if f.Reason == "" {
					t.Errorf("%s has no reason", f.Field)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettingsWithoutBeta(t *testing.T) {
	s := &Settings{Beta: &Beta{ProgramEnrollment: ptr(AlwaysOff)}}
	if s.WithoutBeta() != nil {
		t.Error("nothing should be left")
	}
	s.Notifications = ptr(false)
	rest := s.WithoutBeta()
	if rest == nil || rest.Beta != nil || s.Beta == nil || *rest.Notifications {
		t.Errorf("rest %+v of %+v", rest, s)
	}
}

func TestLocal(t *testing.T) {
	l := mustLocal(t, "2026-12-01T12:00:00")
	if got := l.String(); got != "2026-12-01T12:00:00" {
		t.Errorf("String = %q", got)
	}
	if got := string(l.Append([]byte("x"))); got != "x2026-12-01T12:00:00" {
		t.Errorf("Append = %q", got)
	}
	if got := l.At(FirstZone); !got.Equal(time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("At +14 = %v", got)
	}
	if got := l.At(LastZone); !got.Equal(time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("At -12 = %v", got)
	}
	if got := LocalAt(l.At(FirstZone), FirstZone); got != l {
		t.Errorf("LocalAt = %v", got)
	}
	for _, bad := range []string{"2026-12-01T12:00:00Z", "2026-12-01T12:00:00.5", "2026-12-01 12:00:00", "2026-12-01T12:00", "2026-13-01T12:00:00", ""} {
		if _, err := ParseLocal(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	var back Local
	for _, want := range []Local{0, l} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &back); err != nil || back != want {
			t.Errorf("%s came back as %v, %v", b, back, err)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no zone data")
	}
	if got := l.In(berlin); !got.Equal(time.Date(2026, 12, 1, 11, 0, 0, 0, time.UTC)) || LocalIn(got, berlin) != l {
		t.Errorf("In Berlin = %v", got)
	}
}

func BenchmarkEnforcement(b *testing.B) {
	l := mustLocal(b, "2026-12-01T12:00:00")
	url := "https://it.example.com/" + strings.Repeat("x", 20)
	b.ReportAllocs()
	for b.Loop() {
		Enforcement(IDOSUpdate, "26.6.2", "", l, url)
	}
}

func BenchmarkDeclarationsToken(b *testing.B) {
	items := make([]Item, 6)
	for i := range items {
		items[i] = Item{KindConfiguration, "plimsoll.os-update", strings.Repeat("x", 43)}
	}
	b.ReportAllocs()
	for b.Loop() {
		DeclarationsToken(items, 0)
	}
}
