package gateway

import "testing"

// Logs have nothing by which a link can be used.
func TestSecretsOfLinksAreNotLogged(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/calendars/members/canary.ics": "/calendars/members/…",
		"/unsubscribe/canary":           "/unsubscribe/…",
		"/unsubscribe/canary/":          "/unsubscribe/…",
		"/calendars/members/":           "/calendars/members/",
		"/v1/groups/1":                  "/v1/groups/1",
	} {
		if got := loggable(path); got != want {
			t.Errorf("%s is logged as %s, want %s", path, got, want)
		}
	}
}
