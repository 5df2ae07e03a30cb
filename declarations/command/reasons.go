package command

// The codes of the reasons that a course gives (rules 14).
const (
	ByCommand         = "by_command"
	UserCanDecline    = "user_can_decline"
	UserMustAuthorize = "user_must_authorize"
)

// Token is what is known of a Mac's bootstrap token; it decides who authorises an update on Apple silicon.
type Token struct {
	AppleSilicon bool
	Escrowed     bool
	Answered     bool   // SecurityInfo was answered
	Required     bool   // BootstrapTokenRequiredForSoftwareUpdate
	Allowed      string // BootstrapTokenAllowedForAuthentication: "allowed", "disallowed" or "not supported"
}

// UserMustAuthorize tells whether only a user's password can begin the installation. Until SecurityInfo is answered nobody knows,
// and it is false.
func (k Token) UserMustAuthorize() bool {
	return k.AppleSilicon && k.Answered && k.Required && (k.Allowed != "allowed" || !k.Escrowed)
}

// Reason is a code with its evidence, in the words of rules 8.
type Reason struct {
	Code     string
	Evidence map[string]string
}

// Reasons are those of the course, the most decisive first: a failure, a user who is needed or may decline, and by_command.
// The last stands beside every state of a Mac with a course.
func (c *Course) Reasons(k Token) []Reason {
	if !c.Active() {
		return nil
	}
	target := func(more ...string) map[string]string {
		m := map[string]string{"version": string(c.Version), "build": c.Build}
		for i := 0; i+1 < len(more); i += 2 {
			if more[i+1] != "" {
				m[more[i]] = more[i+1]
			}
		}
		return m
	}
	var all []Reason
	if c.Failure != "" {
		all = append(all, Reason{c.FailureCode, target("reason", c.Failure)})
	}
	if k.UserMustAuthorize() {
		all = append(all, Reason{UserMustAuthorize, target("allowed", k.Allowed)})
	}
	if c.Lane == Upgrade {
		all = append(all, Reason{UserCanDecline, target()})
	}
	action := ""
	if c.Waiting != nil {
		action = string(c.Waiting.Action)
	}
	return append(all, Reason{ByCommand, target("lane", string(c.Lane), "action", action, "deadline_local", c.Deadline.String())})
}
