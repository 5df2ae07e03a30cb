package commandlog

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micromdm/plist"
)

// secret matches the names of values that open something: UnlockToken, PushMagic, ActivationLockBypassCode, NewRecoveryKey,
// PersonalRecoveryKeyCMS, Passcode. Whether there is one (HasPersonalRecoveryKey, BootstrapTokenAllowedForAuthentication) is no
// secret: that is said by a boolean, or under a name that goes on.
var secret = regexp.MustCompile(`(?i)(token|password|passphrase|passcode|pincode|pin|secret|credentials?|magic|challenge|` +
	`bypasscode|recoverykey|privatekey|passwordhash|keycms)$`)

// shown is an answer's property list as JSON. What may be secret is left out, with a JSON Pointer to where it stood: texts and
// numbers under the names of secrets, and all binary data, which holds keys, tokens and certificates.
func shown(raw []byte) (answer json.RawMessage, leftOut []string, err error) {
	var all map[string]any
	if err := plist.Unmarshal(raw, &all); err != nil {
		return nil, nil, fmt.Errorf("read the property list: %w", err)
	}
	v := viewer{leftOut: []string{}}
	answer, err = json.Marshal(v.dictionary("", all, false))
	slices.Sort(v.leftOut)
	return answer, v.leftOut, err
}

// viewer collects what it leaves out.
type viewer struct{ leftOut []string }

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func (v *viewer) dictionary(at string, all map[string]any, closed bool) map[string]any {
	out := make(map[string]any, len(all))
	for name, value := range all {
		where := at + "/" + pointer.Replace(name)
		if seen, ok := v.value(where, value, closed || secret.MatchString(name)); ok {
			out[name] = seen
		}
	}
	return out
}

// value is a value for JSON; false: it is left out. closed: it stands under the name of a secret.
func (v *viewer) value(at string, value any, closed bool) (any, bool) {
	switch value := value.(type) {
	case map[string]any:
		return v.dictionary(at, value, closed), true
	case []any:
		out := []any{}
		for i, one := range value {
			if seen, ok := v.value(at+"/"+strconv.Itoa(i), one, closed); ok {
				out = append(out, seen)
			}
		}
		return out, true
	case bool:
		return value, true
	case []byte:
		closed = true
	case time.Time:
		return value.UTC().Format(time.RFC3339), true
	}
	if closed {
		v.leftOut = append(v.leftOut, at)
		return nil, false
	}
	if n, ok := value.(float64); ok && (math.IsNaN(n) || math.IsInf(n, 0)) { // JSON has no such number
		return strconv.FormatFloat(n, 'g', -1, 64), true
	}
	return value, true
}
