package hsds

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"cairn.care/services/formats"
)

// maxSpread bounds what the parts of one document come to, in bytes, when what they share is written with each.
const maxSpread = 16 << 20

// Records splits a feed: an array, the pages of an API with their "contents", or a single document. Documents are services,
// organizations with their services, and services at locations. A service at several locations gives one record for each.
func (Format) Records(feed io.Reader, _ formats.Options) iter.Seq2[formats.Record, error] {
	return formats.Distinct(func(yield func(formats.Record, error) bool) {
		s := &spreader{yield: yield}
		for r, err := range (formats.JSON{
			Paths: []string{"contents", "services"}, Single: true,
			Want: `HSDS feed: want a service, an organization with services, a JSON array of them, or a page of an HSDS API with "contents"`,
		}).Split(feed) {
			if err != nil {
				yield(formats.Record{}, err)
				return
			}
			var ok bool
			if r.Rejected != nil {
				ok = s.reject(r.Rejected)
			} else {
				ok = s.document(r.Raw)
			}
			if !ok {
				return
			}
		}
	}, "id")
}

// spreader makes records of documents.
type spreader struct {
	yield func(formats.Record, error) bool
	row   int
}

func (s *spreader) reject(r *formats.Rejected) bool {
	s.row++
	r.Row = s.row
	return s.yield(formats.Record{Row: s.row, Rejected: r}, nil)
}

func (s *spreader) refuse(field string, raw []byte, reason string, a ...any) bool {
	return s.reject(formats.Reject(0, field, string(raw[:min(len(raw), 1000)]), reason, a...))
}

// document yields what one document of the feed gives.
func (s *spreader) document(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '{' {
		return s.refuse("", raw, "a service is a JSON object")
	}
	if _, is := member(raw, "location_type"); is {
		return s.refuse("location_type", raw, "is of a location; a feed is made of services")
	}
	services, is := member(raw, "services")
	if is && kind(services) == '[' {
		return s.organization(raw, services)
	}
	if service, is := member(raw, "service"); is && kind(service) == '{' {
		return s.service(joined(service, "service_at_locations", array(without(raw, "service"))))
	}
	if _, is := member(raw, "status"); !is {
		for _, key := range []string{"taxonomy_id", "taxonomy_detail", "term_uri"} {
			if _, is := member(raw, key); is {
				return s.refuse(key, raw, "is of a taxonomy's term; a feed is made of services, which carry such terms")
			}
		}
		_, uri := member(raw, "uri")
		if _, version := member(raw, "version"); uri && version {
			return s.refuse("version", raw, "is of a taxonomy; a feed is made of services")
		}
		for _, key := range []string{"legal_status", "tax_status", "year_incorporated", "website", "parent_organization_id"} {
			if _, is := member(raw, key); is {
				return s.refuse("status", raw, "is missing: this is an organization without its services; ask for them, or for the services themselves")
			}
		}
	}
	return s.service(raw)
}

// organization yields the services of an organization; each that does not name its organization is given the name.
func (s *spreader) organization(raw, services []byte) bool {
	var own []byte
	for _, key := range []string{"id", "name", "alternate_name", "email", "website", "uri"} {
		if v, ok := member(raw, key); ok && kind(v) == '"' && len(v) < 2000 {
			own = joined(own, key, v)
		}
	}
	spent, n := 0, 0
	elements(services, func(service []byte) bool {
		n++
		if kind(service) != '{' {
			return s.refuse(fmt.Sprintf("services[%d]", n-1), service, "a service is a JSON object")
		}
		if _, is := member(service, "organization"); !is && own != nil {
			if spent += len(own); spent < maxSpread {
				service = joined(service, "organization", own)
			}
		}
		if !s.service(service) {
			n = -1
			return false
		}
		return true
	})
	return n >= 0
}

// service yields a record for each place of a service.
func (s *spreader) service(raw []byte) bool {
	id, _ := formats.Member(raw, "id")
	places, is := member(raw, "service_at_locations")
	count := 0
	if is && kind(places) == '[' {
		elements(places, func([]byte) bool { count++; return true })
	}
	if count == 0 {
		return s.record(id, raw)
	}
	shared := without(raw, "service_at_locations")
	if len(shared)*count > maxSpread {
		return s.refuse("service_at_locations", raw, "are too many (%d) for a service as long as this one", count)
	}
	more := true
	elements(places, func(place []byte) bool {
		at := id
		if own, ok := formats.Member(place, "id"); ok && own != "" && own != LocationID(id) {
			at = own
		} else if count > 1 && at != "" {
			if more = s.refuse("service_at_locations.id", place, "is missing: without it a later run could not find the service at this location again"); !more {
				return false
			}
			return true
		}
		more = s.record(at, joined(shared, "service_at_locations", array(place)))
		return more
	})
	return more
}

func (s *spreader) record(id string, raw []byte) bool {
	id = strings.TrimSpace(id)
	if _, named := member(raw, "name"); id == "" && !named {
		return s.refuse("", raw, "is no service: it has neither id nor name")
	}
	if id == "" {
		return s.refuse("id", raw, "is missing: without it a later run could not find the service again")
	}
	if strings.ContainsRune(id, 0) {
		return s.refuse("id", []byte(id), "holds the character NUL")
	}
	if len(id) > 200 {
		return s.refuse("id", []byte(id), "is longer than 200 bytes")
	}
	if len(raw) > formats.MaxRecord+maxOwn {
		return s.refuse("", raw, "the record is longer than %d bytes", formats.MaxRecord)
	}
	s.row++
	return s.yield(formats.Record{Row: s.row, ID: id, Raw: raw}, nil)
}

// maxOwn is how much longer a record gets by what its organization says of itself.
const maxOwn = 16 << 10

func kind(value []byte) byte {
	if len(value) == 0 {
		return 0
	}
	return value[0]
}

// member returns the value of a member as it is written; of several with the same name, the last.
func member(raw []byte, name string) (value []byte, ok bool) {
	formats.Members(raw, func(n, v []byte) bool {
		if string(n[1:len(n)-1]) == name {
			value, ok = v, true
		}
		return true
	})
	return value, ok
}

// without returns an object without a member.
func without(raw []byte, name string) []byte {
	out := append(make([]byte, 0, len(raw)), '{')
	formats.Members(raw, func(n, v []byte) bool {
		if string(n[1:len(n)-1]) != name {
			out = appendMember(out, n, v)
		}
		return true
	})
	return append(out, '}')
}

// joined returns an object with one more member.
func joined(raw []byte, name string, value []byte) []byte {
	out := without(append(make([]byte, 0, len(raw)+len(name)+len(value)+8), orEmpty(raw)...), name)
	return append(appendMember(out[:len(out)-1], []byte(`"`+name+`"`), value), '}')
}

func orEmpty(raw []byte) []byte {
	if raw == nil {
		return []byte("{}")
	}
	return raw
}

func appendMember(out, name, value []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(out, name...)
	out = append(out, ':')
	return append(out, value...)
}

func array(value []byte) []byte { return append(append([]byte{'['}, value...), ']') }

// elements calls each with the elements of an array, until it returns false.
func elements(raw []byte, each func([]byte) bool) {
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return
	}
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil || !each(bytes.TrimSpace(v)) {
			return
		}
	}
}
