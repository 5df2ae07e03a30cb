package declarations

import "fmt"

// Control tells who decides about an automatic action: the user (Allowed), or nobody (AlwaysOn, AlwaysOff).
type Control string

// The values of Control.
const (
	Allowed   Control = "Allowed"
	AlwaysOn  Control = "AlwaysOn"
	AlwaysOff Control = "AlwaysOff"
)

// Settings is the payload of com.apple.configuration.softwareupdate.settings (macOS 15 and later), with the keys that
// macOS knows. The names are Apple's. What is left out keeps Apple's default.
type Settings struct {
	// Notifications: false leaves only the notification an hour before the deadline and the restart countdown. Apple's default is
	// true.
	Notifications *bool `json:"Notifications,omitempty"`
	// Deferrals hide updates from the user for some days after their release. What a policy enforces is not deferred, and neither
	// are Background Security Improvements.
	Deferrals *Deferrals `json:"Deferrals,omitempty"`
	// AutomaticActions tell who controls automatic downloads and installs.
	AutomaticActions *AutomaticActions `json:"AutomaticActions,omitempty"`
	// RapidSecurityResponse tells what the user may do with Background Security Improvements; Apple kept the older name.
	RapidSecurityResponse *RapidSecurityResponse `json:"RapidSecurityResponse,omitempty"`
	// AllowStandardUserOSUpdates: false lets only administrators perform updates and upgrades. Apple's default is true.
	AllowStandardUserOSUpdates *bool `json:"AllowStandardUserOSUpdates,omitempty"`
	// Beta sets which beta programs the Mac takes part in. macOS 15.4 and later; left out for older Macs.
	Beta *Beta `json:"Beta,omitempty"`
}

// Deferrals are days for which updates stay hidden from the user after their release.
type Deferrals struct {
	// MajorPeriodInDays defers upgrades to another major version.
	MajorPeriodInDays *int `json:"MajorPeriodInDays,omitempty"  jsonschema:"minimum=1,maximum=90"`
	// MinorPeriodInDays defers updates within the major version.
	MinorPeriodInDays *int `json:"MinorPeriodInDays,omitempty"  jsonschema:"minimum=1,maximum=90"`
	// SystemPeriodInDays defers updates that are not of the operating system.
	SystemPeriodInDays *int `json:"SystemPeriodInDays,omitempty" jsonschema:"minimum=1,maximum=90"`
}

// AutomaticActions tell who controls automatic downloads and installs.
type AutomaticActions struct {
	// Download: whether updates are downloaded automatically. The other two count only while they are.
	Download *Control `json:"Download,omitempty"              jsonschema:"enum=Allowed,enum=AlwaysOn,enum=AlwaysOff"`
	// InstallOSUpdates: whether updates of macOS are installed automatically.
	InstallOSUpdates *Control `json:"InstallOSUpdates,omitempty"      jsonschema:"enum=Allowed,enum=AlwaysOn,enum=AlwaysOff"`
	// InstallSecurityUpdate: whether security updates, Background Security Improvements among them, are installed automatically.
	InstallSecurityUpdate *Control `json:"InstallSecurityUpdate,omitempty" jsonschema:"enum=Allowed,enum=AlwaysOn,enum=AlwaysOff"`
}

// RapidSecurityResponse tells what the user may do with Background Security Improvements.
type RapidSecurityResponse struct {
	// Enable: false means that they are not offered to the user; a policy enforces them all the same. Apple's default is true.
	Enable *bool `json:"Enable,omitempty"`
	// EnableRollback: false means that the user is not offered to remove them. Apple's default is true.
	EnableRollback *bool `json:"EnableRollback,omitempty"`
}

// Beta sets which beta programs the Mac takes part in (macOS 15.4 and later).
type Beta struct {
	// ProgramEnrollment: Allowed lets the user enrol with the Apple Account, AlwaysOn uses the organisation's programs only,
	// AlwaysOff removes the Mac from every program.
	ProgramEnrollment *Control `json:"ProgramEnrollment,omitempty" jsonschema:"enum=Allowed,enum=AlwaysOn,enum=AlwaysOff"`
	// OfferPrograms are the programs that the user may choose from; with Allowed or AlwaysOn only, and not beside RequireProgram.
	OfferPrograms []BetaProgram `json:"OfferPrograms,omitempty"     jsonschema:"minItems=1"`
	// RequireProgram is the program that the Mac is enrolled in; with AlwaysOn only, and not beside OfferPrograms.
	RequireProgram *BetaProgram `json:"RequireProgram,omitempty"`
}

// BetaProgram is a beta program of the organisation.
type BetaProgram struct {
	// Description is what people are shown.
	Description string `json:"Description" jsonschema:"minLength=1"`
	// Token is the seeding token of the organisation from Apple School Manager or Apple Business.
	Token string `json:"Token"       jsonschema:"minLength=1"`
}

// FieldFault is one fault of a payload, by the path of the key.
type FieldFault struct {
	Field  string
	Reason string
}

// Check finds everything that Apple's schema and its rules between keys refuse; the paths begin with Apple's own keys.
func (s *Settings) Check() []FieldFault {
	var faults []FieldFault
	fault := func(field, format string, args ...any) {
		faults = append(faults, FieldFault{field, fmt.Sprintf(format, args...)})
	}
	control := func(field string, c *Control) {
		if c != nil && *c != Allowed && *c != AlwaysOn && *c != AlwaysOff {
			fault(field, "must be Allowed, AlwaysOn or AlwaysOff")
		}
	}
	days := func(field string, n *int) {
		if n != nil && (*n < 1 || *n > 90) {
			fault(field, "must be between 1 and 90")
		}
	}
	if *s == (Settings{}) {
		fault("", "must have at least one key, or be left out")
	}
	if d := s.Deferrals; d != nil {
		days("Deferrals.MajorPeriodInDays", d.MajorPeriodInDays)
		days("Deferrals.MinorPeriodInDays", d.MinorPeriodInDays)
		days("Deferrals.SystemPeriodInDays", d.SystemPeriodInDays)
	}
	if a := s.AutomaticActions; a != nil {
		control("AutomaticActions.Download", a.Download)
		control("AutomaticActions.InstallOSUpdates", a.InstallOSUpdates)
		control("AutomaticActions.InstallSecurityUpdate", a.InstallSecurityUpdate)
	}
	if s.Beta != nil {
		s.Beta.check(control, fault)
	}
	return faults
}

func (b *Beta) check(control func(string, *Control), fault func(string, string, ...any)) {
	control("Beta.ProgramEnrollment", b.ProgramEnrollment)
	enrollment := Allowed // Apple's default
	if b.ProgramEnrollment != nil {
		enrollment = *b.ProgramEnrollment
	}
	if b.OfferPrograms != nil {
		switch {
		case b.RequireProgram != nil:
			fault("Beta.OfferPrograms", "must not be given beside RequireProgram")
		case enrollment == AlwaysOff:
			fault("Beta.OfferPrograms", "is allowed only when ProgramEnrollment is Allowed or AlwaysOn")
		case len(b.OfferPrograms) == 0:
			fault("Beta.OfferPrograms", "must have at least one program, or be left out")
		}
	}
	if b.RequireProgram != nil && enrollment != AlwaysOn {
		fault("Beta.RequireProgram", "is allowed only when ProgramEnrollment is AlwaysOn")
	}
	program := func(path string, p *BetaProgram) {
		if p.Description == "" {
			fault(path+".Description", "must not be empty")
		}
		if p.Token == "" {
			fault(path+".Token", "must not be empty")
		}
	}
	for i := range b.OfferPrograms {
		program(fmt.Sprintf("Beta.OfferPrograms.%d", i), &b.OfferPrograms[i])
	}
	if b.RequireProgram != nil {
		program("Beta.RequireProgram", b.RequireProgram)
	}
}

// WithoutBeta are the settings for a Mac before macOS 15.4, which does not know Beta; nil when nothing else is set.
func (s *Settings) WithoutBeta() *Settings {
	rest := *s
	rest.Beta = nil
	if rest == (Settings{}) {
		return nil
	}
	return &rest
}
