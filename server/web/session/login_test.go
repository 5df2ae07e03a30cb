package session

import "testing"

func TestOwnPath(t *testing.T) {
	for given, want := range map[string]string{
		"/devices?state=overdue&q=a%20b": "/devices?state=overdue&q=a%20b", "/": "/", "": "/", "devices": "/", "//evil.example": "/", "/\\evil.example": "/",
		"https://evil.example/": "/", "javascript:alert(1)": "/", "/a\nb": "/",
	} {
		if got := ownPath(given); got != want {
			t.Errorf("%q leads to %q, want %q", given, got, want)
		}
	}
}
