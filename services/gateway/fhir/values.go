package fhir

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// value is one value of a search parameter, read by its type.
type value struct {
	text   string // as it is meant, escapes undone: strings, uris and special parameters
	system string // of a token; with :of-type that of ofType
	ofType string // the type of identifier that a token with :of-type says
	code   string // of a token
	bar    bool   // the token was written with "|": an empty system means none, not any
	kind   string // of a reference; empty if it was not said
	id     string // of a reference
	prefix string // of a date or number: eq, ne, gt, lt, ge, le, sa, eb, ap
	from   time.Time
	to     time.Time // the first instant after what a date stands for
	number float64
}

// pair is a parameter of a query as it was written.
type pair struct{ name, value string }

// queryOf reads a query in its order.
func queryOf(raw string) ([]pair, error) {
	var out []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, val, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(val)
		if err1 != nil || err2 != nil {
			return nil, malformed("structure", "", "the query cannot be read: a %% in it does not begin an escape")
		}
		if !utf8.ValidString(n) || !utf8.ValidString(v) || strings.ContainsRune(n+v, 0) {
			return nil, malformed("structure", "", "the query is not UTF-8, or contains the character U+0000")
		}
		if len(out) == maxPairs {
			return nil, malformed("too-costly", "", "the query has more than %d parameters", maxPairs)
		}
		out = append(out, pair{n, v})
	}
	return out, nil
}

const (
	maxPairs   = 100 // parameters of a query
	maxChoices = 200 // values of a parameter
)

// split cuts a value at a separator that is not escaped (https://hl7.org/fhir/R4/search.html#escaping).
func split(s string, at byte) []string {
	var out []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case at:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// unescape undoes the escapes of a value.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`\,$|`, s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// readValue reads a value of a parameter.
func (f *Face) readValue(p *param, modifier, raw string) (value, error) {
	if modifier == "missing" {
		if raw != "true" && raw != "false" {
			return value{}, malformed("value", "", "%s:missing is true or false", p.name)
		}
		return value{text: raw, code: raw}, nil
	}
	kind := p.kind
	if modifier == "identifier" && kind == referenceParam {
		kind = tokenParam
	}
	switch kind {
	case tokenParam:
		parts := split(raw, '|')
		if modifier == "of-type" {
			if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
				return value{}, malformed("value", "", "%s:of-type is the type's system|the type|the number", p.name)
			}
			return value{text: unescape(raw), system: unescape(parts[0]), ofType: unescape(parts[1]), code: unescape(parts[2])}, nil
		}
		switch len(parts) {
		case 1:
			return value{text: unescape(raw), code: unescape(raw)}, nil
		case 2:
			if parts[0] == "" && parts[1] == "" {
				return value{}, malformed("value", "", "%s: %q has neither system nor code", p.name, "|")
			}
			return value{text: unescape(raw), system: unescape(parts[0]), code: unescape(parts[1]), bar: true}, nil
		}
		return value{}, malformed("value", "", "%s: a token is a code, or system|code", p.name)
	case referenceParam:
		return f.readReference(p, modifier, unescape(raw))
	case dateParam:
		return readDate(p, raw)
	case numberParam:
		prefix, rest := cutPrefix(raw)
		n, err := strconv.ParseFloat(rest, 64)
		if err != nil || n != n || n > 1e300 || n < -1e300 {
			return value{}, malformed("value", "", "%s: %q is no number", p.name, clip(raw))
		}
		return value{text: raw, prefix: prefix, number: n}, nil
	case specialParam:
		return value{text: raw}, nil
	}
	return value{text: unescape(raw)}, nil
}

// readReference reads "Task/1", "1" or the whole URL of a resource here.
func (f *Face) readReference(p *param, modifier, text string) (value, error) {
	kind, id, typed := strings.Cut(strings.TrimPrefix(text, f.base+"/"), "/")
	if !typed {
		kind, id = modifier, kind
		if kind == "" && len(p.targets) == 1 {
			kind = p.targets[0]
		}
	}
	if !idForm(id) {
		return value{}, malformed("value", "", "%s: %q is no reference to a resource here, such as %s/1", p.name, clip(text), p.targets[0])
	}
	if kind != "" && !slices.Contains(p.targets, kind) || typed && modifier != "" && modifier != kind {
		return value{}, malformed("value", "", "%s refers to %s", p.name, strings.Join(p.targets, " or "))
	}
	return value{text: text, kind: kind, id: id}, nil
}

func cutPrefix(s string) (prefix, rest string) {
	if len(s) > 2 && slices.Contains([]string{"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"}, s[:2]) {
		return s[:2], s[2:]
	}
	return "eq", s
}

var dateForm = regexp.MustCompile(`^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?)?)?$`)

// readDate reads a date: a span of time, as long as it is exact. Without a zone it is in UTC.
func readDate(p *param, raw string) (value, error) {
	prefix, text := cutPrefix(raw)
	bad := malformed("value", "", "%s: %q is no date; write 2027-03-04, or 2027-03-04T09:30:00Z (with + as %%2B)", p.name, clip(raw))
	if i := strings.LastIndexByte(text, ' '); i > 10 {
		text = text[:i] + "+" + text[i+1:] // a zone whose + was not escaped
	}
	if !dateForm.MatchString(text) {
		return value{}, bad
	}
	zone := ""
	if i := strings.IndexAny(text, "T"); i > 0 {
		if j := strings.LastIndexAny(text, "Z+-"); j > i {
			text, zone = text[:j], text[j:]
		}
	}
	if zone == "" {
		zone = "Z"
	}
	for _, form := range []struct {
		layout string
		end    func(time.Time) time.Time
	}{
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(exactness(text)) }},
	} {
		from, err := time.Parse(form.layout+"Z07:00", text+zone)
		if err == nil {
			return value{text: raw, prefix: prefix, from: from, to: form.end(from)}, nil
		}
	}
	return value{}, bad
}

// exactness is how long a moment is that is written with so many digits.
func exactness(text string) time.Duration {
	_, digits, ok := strings.Cut(text, ".")
	if !ok {
		return time.Second
	}
	d := time.Second
	for range digits {
		d /= 10
	}
	return d
}

// matches tells whether a text is what a string parameter asks for: with :exact the text itself, with :contains any part of it, else
// what begins tells, of both without accents and case.
func (cl clause) matches(text string, begins func(have, want string) bool) bool {
	return slices.ContainsFunc(cl.values, func(v value) bool {
		switch cl.modifier {
		case "exact":
			return text == v.text
		case "contains":
			return strings.Contains(folded(text), folded(v.text))
		}
		return begins(folded(text), folded(v.text))
	})
}

// hasWords tells whether each word of want begins a word of have.
func hasWords(have, want string) bool {
	words := strings.FieldsFunc(have, notWord)
	return !slices.ContainsFunc(strings.FieldsFunc(want, notWord), func(w string) bool {
		return !slices.ContainsFunc(words, func(h string) bool { return strings.HasPrefix(h, w) })
	})
}

func notWord(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// folded is a text without accents and case.
func folded(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s)))
}
