package hsds

import (
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// contact takes how to reach the people behind the service: what is said of the service itself goes before what is said of
// the place, of an office, and of the organization.
func (r *reader) contact(id string) {
	c := &groupsv1.Group_Contact{}
	organization := r.service.child("organization")
	offices := slices.Concat(r.at.list("contacts"), r.service.list("contacts"))
	take := func(o object, key string, to *string, ok func(string) bool, drop bool) {
		if v := o.text(key); *to == "" && v != "" && ok(v) {
			*to = v
			if drop {
				o.drop(key)
			}
		}
	}
	take(r.service, "url", &c.Uri, isLink, true)
	take(r.service, "email", &c.Email, isEmail, true)
	r.phone(r.service, id, &c.Phone)
	if r.ours {
		if c.GetUri() != "" || c.GetEmail() != "" || c.GetPhone() != "" {
			r.g.Contact = c
		}
		return
	}
	r.phone(r.at, id, &c.Phone)
	r.phone(r.location, id, &c.Phone)
	for _, o := range offices {
		take(o, "email", &c.Email, isEmail, false)
		r.phone(o, id, &c.Phone)
	}
	take(organization, "website", &c.Uri, isLink, false)
	take(organization, "email", &c.Email, isEmail, false)
	r.phone(organization, id, &c.Phone)
	if c.GetUri() != "" || c.GetEmail() != "" || c.GetPhone() != "" {
		r.g.Contact = c
	}
}

func isLink(s string) bool {
	_, ok := formats.Link(s)
	return ok && len(s) <= 1000
}

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && len(s) <= 254 && !strings.ContainsAny(s, "\"\x00 ")
}

// phone takes the first number to speak on.
func (r *reader) phone(o object, id string, to *string) {
	if *to != "" {
		return
	}
	for _, p := range o.list("phones") {
		if r.ours && p.text("id") != derivedID(id, "phones/0") {
			continue
		}
		if kind := strings.ToLower(p.text("type")); kind != "" && kind != "voice" && kind != "cell" && kind != "mobile" {
			continue
		}
		number := p.verbatim("number")
		if !r.ours {
			number = strings.Trim(strings.TrimSpace(number), `"' `)
			if x := p.text("extension"); x != "" && x != "0" && len(x) < 10 {
				number += " ext. " + x
			}
		}
		if number == "" || utf8.RuneCountInString(number) > 40 || strings.ContainsRune(number, 0) {
			continue
		}
		*to = number
		if r.ours {
			p.drop("id", "number", "type")
		}
		return
	}
}
