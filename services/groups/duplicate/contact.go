package duplicate

import (
	"net/url"
	"slices"
	"strings"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/cancertype"
)

// links are how one gets to a group.
type links struct {
	site  string // host of the page on the web, without "www."
	page  string // host and path; empty when it is the site's start page
	join  string // of the meeting: host and path, or the meeting's number
	email string
	phone string // its last nine digits
	dial  string // the same of the number to dial in
}

func linksOf(g *groupsv1.Group) links {
	l := links{
		email: strings.ToLower(strings.TrimSpace(g.GetContact().GetEmail())),
		phone: digits(g.GetContact().GetPhone()),
		dial:  digits(g.GetOnline().GetPhone()),
	}
	l.site, l.page = pageOf(g.GetContact().GetUri())
	l.join = joinOf(g.GetOnline().GetJoinUri())
	return l
}

// pageOf returns the site and the page of a link, however it is written; page is empty for a start page.
func pageOf(link string) (site, page string) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || u.Hostname() == "" {
		return "", ""
	}
	site = strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	path := strings.ToLower(strings.Trim(u.EscapedPath(), "/"))
	for _, start := range []string{"index.html", "index.htm", "index.php"} {
		path = strings.TrimSuffix(strings.TrimSuffix(path, start), "/")
	}
	q := u.Query()
	for k := range q {
		if strings.HasPrefix(k, "utm_") || k == "fbclid" || k == "gclid" {
			q.Del(k)
		}
	}
	if query := q.Encode(); query != "" {
		path += "?" + query
	}
	if path == "" {
		return site, ""
	}
	return site, site + "/" + path
}

// joinOf returns what a link into a meeting leads to: the room, without password and tracking.
func joinOf(link string) string {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || u.Hostname() == "" {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if strings.HasSuffix(host, ".zoom.us") { // us02web.zoom.us
		host = "zoom.us"
	}
	path := strings.Trim(u.EscapedPath(), "/")
	if path == "" {
		return ""
	}
	return host + "/" + path
}

// digits returns the last nine digits of the first telephone number in a text, "" if there are fewer than seven.
func digits(text string) string {
	var d []byte
	for i := range len(text) {
		if c := text[i]; c >= '0' && c <= '9' {
			d = append(d, c)
		} else if len(d) >= 7 && strings.IndexByte(",;/xXe", c) >= 0 { // one-tap suffix, second number, extension
			break
		}
	}
	if len(d) < 7 {
		return ""
	}
	return string(d[max(0, len(d)-9):])
}

// compareLinks weighs how one gets to the groups.
func compareLinks(w *weighing, a, b *links) {
	switch {
	case a.page != "" && a.page == b.page:
		w.add(Link, 2, "same link")
	case a.page != "" && b.page != "" && a.site == b.site:
		w.add(Link, -2, "different pages of one site")
	case a.site != "" && a.site == b.site:
		w.add(Link, 0.5, "same site")
	}
	switch {
	case a.join != "" && a.join == b.join:
		w.add(Link, 2.5, "same meeting link")
	case a.join != "" && b.join != "":
		w.add(Link, -1.5, "different meeting links")
	case a.dial != "" && a.dial == b.dial:
		w.add(Link, 1, "same number to dial")
	}
	compareContacts(w, a, b)
}

// compareContacts weighs whom one asks. An office answers for all its groups: its two addresses tell little more than one.
func compareContacts(w *weighing, a, b *links) {
	email, phone := a.email != "" && a.email == b.email, a.phone != "" && a.phone == b.phone
	switch {
	case email && phone:
		w.add(Contact, 1.5, "same e-mail address and telephone number")
	case email:
		w.add(Contact, 1.2, "same e-mail address")
	case phone:
		w.add(Contact, 1.2, "same telephone number")
	case (a.email != "" && b.email != "") || (a.phone != "" && b.phone != ""):
		w.add(Contact, -0.3, "different contacts")
	}
}

// mainLanguage returns "es" for "es-MX".
func mainLanguage(tag string) string {
	main, _, _ := strings.Cut(strings.ToLower(tag), "-")
	return main
}

// compareCancers weighs what the groups are about.
func compareCancers(w *weighing, a, b []string) {
	if len(a) == 0 || len(b) == 0 || slices.Contains(a, "any") || slices.Contains(b, "any") {
		return
	}
	for _, x := range a {
		for _, y := range b {
			if x == y {
				w.add(Focus, 0.4, "about the same cancers")
				return
			}
			if cancertype.IsAncestor(x, y) || cancertype.IsAncestor(y, x) {
				return
			}
		}
	}
	w.add(Focus, -5, "about different cancers")
}
