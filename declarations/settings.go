package declarations

// Settings is the payload of com.apple.configuration.softwareupdate.settings (macOS keys only).
type Settings struct{}
