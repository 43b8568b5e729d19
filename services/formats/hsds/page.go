package hsds

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FirstPage returns the address at which a partner's HSDS API lists its services in full: all of them or, with an instant,
// those that were modified on or after it. What the address says already stays.
func FirstPage(services *url.URL, modifiedAfter time.Time) *url.URL {
	u := *services
	q := u.Query()
	for key, value := range map[string]string{"page": "1", "per_page": "100", "full": "true"} {
		if !q.Has(key) {
			q.Set(key, value)
		}
	}
	if !modifiedAfter.IsZero() {
		q.Set("modified_after", modifiedAfter.UTC().Format(time.RFC3339))
	}
	u.RawQuery = q.Encode()
	return &u
}

// NextPage returns the address of the page after the one that was asked for; false after the last. The page is what passed
// through p, whole.
func NextPage(asked *url.URL, p *Page) (*url.URL, bool) {
	q := asked.Query()
	now, err := strconv.Atoi(q.Get("page"))
	if err != nil {
		now = 1
	}
	total, paged := p.number("total_pages")
	number, numbered := p.number("page_number")
	switch {
	case p.is("last_page", "true"), p.is("empty", "true"), p.is("size", "0"):
		return nil, false
	case paged && now >= total, numbered && number < now: // an API that knows no pages gives the first again and again
		return nil, false
	case !paged && !p.is("last_page", "false"): // not a page at all
		return nil, false
	}
	q.Set("page", strconv.Itoa(now+1))
	u := *asked
	u.RawQuery = q.Encode()
	return &u, true
}

// Page notes, of the JSON that is written to it in pieces, what a page of an HSDS API says of itself: page_number,
// total_pages, last_page and the like. Put it beside a reader with [io.TeeReader]. The zero Page is ready.
type Page struct {
	members map[string]string

	depth  int
	quoted bool
	escape bool
	colon  bool
	key    []byte
	value  []byte
}

const maxMember = 64 // bytes of a name or value that counts

// Write takes the next piece. It never fails.
func (p *Page) Write(piece []byte) (int, error) {
	for _, c := range piece {
		p.next(c)
	}
	return len(piece), nil
}

func (p *Page) next(c byte) {
	switch {
	case p.escape:
		p.escape = false
	case p.quoted && c == '\\':
		p.escape = true
	case c == '"':
		p.quoted = !p.quoted
		if p.quoted && p.depth == 1 && !p.colon {
			p.key = p.key[:0]
			return
		}
	case p.quoted:
	case c == '{' || c == '[':
		p.depth++
	case c == ':' && p.depth == 1:
		p.colon, p.value = true, p.value[:0]
		return
	case c == ',' && p.depth == 1:
		p.end()
		return
	case c == '}' || c == ']':
		if p.depth == 1 {
			p.end()
		}
		p.depth--
	}
	if p.depth != 1 {
		return
	}
	if p.colon {
		if len(p.value) < maxMember {
			p.value = append(p.value, c)
		}
	} else if p.quoted && len(p.key) < maxMember {
		p.key = append(p.key, c)
	}
}

// end notes a member.
func (p *Page) end() {
	switch key := string(p.key); key {
	case "page_number", "total_pages", "last_page", "empty", "size":
		if p.colon {
			if p.members == nil {
				p.members = map[string]string{}
			}
			p.members[key] = strings.Trim(strings.TrimSpace(string(p.value)), `"`)
		}
	}
	p.key, p.colon = p.key[:0], false
}

func (p *Page) is(key, value string) bool { return p.members[key] == value }

func (p *Page) number(key string) (int, bool) {
	var n int
	err := json.Unmarshal([]byte(p.members[key]), &n)
	return n, err == nil
}
