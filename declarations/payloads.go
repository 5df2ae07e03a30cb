package declarations

import "fmt"

// Enforcement is the declaration that enforces a release (rules 7). The version is the feed's own string (of a
// Background Security Improvement its base version, never with a letter), the build and the address are left out when empty.
func Enforcement(identifier, version, build string, deadline Local, detailsURL string) Declaration {
	buf := make([]byte, 0, 160+len(detailsURL))
	buf = append(buf, '{')
	if detailsURL != "" {
		buf = append(appendString(append(buf, `"DetailsURL":`...), detailsURL), ',')
	}
	if build != "" {
		buf = append(appendString(append(buf, `"TargetBuildVersion":`...), build), ',')
	}
	buf = append(buf, `"TargetLocalDateTime":"`...)
	buf = append(deadline.Append(buf), '"')
	buf = appendString(append(buf, `,"TargetOSVersion":`...), version)
	buf = append(buf, '}')
	return New(KindConfiguration, TypeEnforcement, identifier, buf)
}

// Subscriptions is the declaration that subscribes to status items, in the order given.
func Subscriptions(items []string) Declaration {
	buf := make([]byte, 0, 32+len(items)*64)
	buf = append(buf, `{"StatusItems":[`...)
	for i, item := range items {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendString(append(buf, `{"Name":`...), item), '}')
	}
	buf = append(buf, `]}`...)
	return New(KindConfiguration, TypeSubscriptions, IDStatus, buf)
}

// SettingsDeclaration is the declaration that carries the settings of a policy.
func SettingsDeclaration(s *Settings) (Declaration, error) {
	payload, err := Canonical(s)
	if err != nil {
		return Declaration{}, fmt.Errorf("settings payload: %w", err)
	}
	return New(KindConfiguration, TypeSettings, IDSettings, payload), nil
}

// Activation is the activation that belongs to a configuration.
func Activation(of Declaration) Declaration {
	buf := append(appendString([]byte(`{"StandardConfigurations":[`), of.Identifier), `]}`...)
	return New(KindActivation, TypeActivation, of.Identifier+ActivationSuffix, buf)
}
