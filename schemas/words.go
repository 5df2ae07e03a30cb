package schemas

// The patterns of the schemas. A schema has no place for words that every validator accepts, so those are kept beside
// the patterns.
const (
	VersionPattern   = `^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$`
	TimePattern      = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
	NamePattern      = `^[a-z0-9][a-z0-9._-]{0,62}$`
	TrackPattern     = `^(current|latest|[1-9][0-9]{1,2})$`
	DetailsPattern   = `^(self|https?://[^\s]+)$`
	TokenNamePattern = `^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`
	// DatePattern is a day that there is: 30 and 31 in the months that have them, and February 29 in leap years.
	DatePattern = `^` + day + `$`
	// LocalPattern is a wall-clock time without zone, in whole seconds, on a day that there is.
	LocalPattern = `^` + day + `T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$`

	day = `(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))` +
		`|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)`
)

// words say what a pattern asks for, as the end of a sentence that begins with the field's name.
var words = map[string]string{
	VersionPattern:   "must be a version such as 26.6.1",
	TimePattern:      "must be a time of day such as 12:00",
	NamePattern:      "must be 1 to 63 characters long, begin with a letter or a digit, and have only a-z, 0-9, dots, hyphens and underscores",
	TrackPattern:     `must be "current", "latest" or a major version such as "26"`,
	DetailsPattern:   `must be an http or https URL, or "self"`,
	TokenNamePattern: "must be 1 to 63 letters, digits, dots, hyphens, underscores and @, and begin with a letter or a digit",
	DatePattern:      "must be a day that exists, such as 2026-12-19",
	LocalPattern:     "must be a local time such as 2026-12-01T12:00:00, without zone",
}

// Words say what a pattern of the schemas asks for; empty for a pattern that is not ours.
func Words(pattern string) string { return words[pattern] }
