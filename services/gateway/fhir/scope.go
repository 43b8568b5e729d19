package fhir

import (
	"google.golang.org/grpc/codes"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// interaction is what a caller does with a type, by the letter of SMART App Launch 2 for it.
type interaction byte

// The interactions that scopes tell apart.
const (
	creates  interaction = 'c'
	reads    interaction = 'r'
	updates  interaction = 'u'
	deletes  interaction = 'd'
	searches interaction = 's'
)

// words names an interaction for people.
func (i interaction) words() string {
	switch i {
	case creates:
		return "create"
	case reads:
		return "read"
	case updates:
		return "update"
	case deletes:
		return "delete"
	}
	return "search"
}

// grants tells whether scopes let a client do something with a type: "system/Task.rs", "system/*.cruds".
func grants(scopes []string, kind string, i interaction) bool {
	return auth.Covers(scopes, "system/"+kind+"."+string(rune(i)))
}

// allowed refuses an interaction for which the caller has no scope. Public types are read and searched by anybody: who has no scope for
// them sees what everybody sees.
func (c *call) allowed(r *resource, i interaction) error {
	if grants(c.principal.Scopes, r.kind, i) && c.principal.Kind == auth.Client {
		return nil
	}
	if r.public && (i == reads || i == searches) {
		return nil
	}
	switch c.principal.Kind {
	case auth.Anonymous:
		return fault.Unauthenticated("TOKEN_REQUIRED", "to %s %s needs an access token with scope system/%s.%c", i.words(), r.kind, r.kind, i)
	case auth.Client:
		return &fault.Error{Code: codes.PermissionDenied, Reason: "MISSING_SCOPE",
			Message: "to " + i.words() + " " + r.kind + " needs scope system/" + r.kind + "." + string(rune(i)) + ", which the token does not hold"}
	}
	return fault.Denied("NOT_A_CLIENT", "the FHIR API is for systems: call it with a token that a registered API client got")
}

// known tells whether the caller may see more of a type than anybody.
func (c *call) known(r *resource, i interaction) bool {
	return c.principal.Kind == auth.Client && grants(c.principal.Scopes, r.kind, i)
}
