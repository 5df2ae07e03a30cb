package answer

// Origin says who causes a change, and by which way: what the audit tells of it (docs/api.md 5.2).
type Origin struct {
	Actor     string // token:NAME, admin-token, user:EMAIL, mac:ID, gate or program
	Via       string // one of the ways below
	Address   string // of the connection; empty when there is none
	RequestID string // empty when there is none
}

// The ways by which a change comes.
const (
	ViaAPI     = "api"
	ViaPage    = "page"
	ViaGate    = "gate"
	ViaProgram = "program"
)

// Gate is the gates of policies with rings, and Program the program itself, as origins.
var (
	Gate    = Origin{Actor: "gate", Via: ViaGate}
	Program = Origin{Actor: "program", Via: ViaProgram}
)
