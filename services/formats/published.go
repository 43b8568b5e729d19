package formats

import (
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// publishing are the formats whose feeds are made to be read by everybody. What a spreadsheet has in further columns is its
// owner's business.
var publishing = map[string]bool{"hsds": true, "meeting-guide": true, "bmlt": true}

// withheld are beginnings of the names of members that are not given out, whoever published them: people, how to reach them, and
// how to join.
var withheld = []string{
	"contact", "conference", "attending_link", "join", "passcode", "password", "pin", "meeting_id", "author", "last_contact", "feedback_email", "edit_url",
	"assurer_email", "metadata", "virtual_meeting", "phone_meeting", "email_contact", "published_by", "admin", "private", "internal",
}

// Published returns what of a group's extensions may be given out, by source system: what the feed that it came from published,
// without people and without ways to join. The second result names the sources of which something is held back.
func Published(extensions *structpb.Struct) (out *structpb.Struct, heldBack []string) {
	out = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for source, v := range extensions.GetFields() {
		kept := v.GetStructValue()
		if kept == nil || source == "cairn" {
			continue
		}
		if !publishing[source] {
			heldBack = append(heldBack, source)
			continue
		}
		open, all := published(kept, "")
		if len(open.GetFields()) > 0 {
			out.Fields[source] = structpb.NewStructValue(open)
		}
		if !all {
			heldBack = append(heldBack, source)
		}
	}
	slices.Sort(heldBack)
	return out, heldBack
}

// published returns what of an object may be given out, and whether that is all.
func published(o *structpb.Struct, in string) (*structpb.Struct, bool) {
	out, all := &structpb.Struct{Fields: map[string]*structpb.Value{}}, true
	for name, v := range o.GetFields() {
		hide := slices.ContainsFunc(withheld, func(w string) bool { return strings.HasPrefix(strings.ToLower(name), w) })
		hide = hide || in == "location" && name == "url" // where people come together who meet online
		if hide {
			all = false
			continue
		}
		open, whole := publishedValue(v, name)
		if open != nil {
			out.Fields[name] = open
		}
		all = all && whole
	}
	return out, all
}

// publishedValue is published for any value; nil: nothing of it.
func publishedValue(v *structpb.Value, in string) (*structpb.Value, bool) {
	switch v := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		if joins(v.StringValue) {
			return nil, false
		}
	case *structpb.Value_StructValue:
		o, all := published(v.StructValue, in)
		return structpb.NewStructValue(o), all
	case *structpb.Value_ListValue:
		out, all := &structpb.ListValue{}, true
		for _, e := range v.ListValue.GetValues() {
			open, whole := publishedValue(e, in)
			if open != nil {
				out.Values = append(out.Values, open)
			}
			all = all && whole
		}
		return structpb.NewListValue(out), all
	}
	return v, true
}

// joins reports whether a text tells how to join a meeting: a link to a platform where people meet, or a code.
func joins(text string) bool {
	lower := strings.ToLower(text)
	for _, w := range []string{"passcode", "password", "meeting id", "zoom.us", "meet.google.com", "teams.microsoft", "teams.live", "webex.com", "gotomeeting", "whereby.com", "meet.jit.si", "freeconferencecall"} {
		if strings.Contains(lower, w) {
			return true
		}
	}
	u, err := url.Parse(text)
	return err == nil && u.Query().Has("pwd")
}

// Unsaid says which published extensions a format does not give out: each member that is another format's, and of which sources
// something is held back.
func Unsaid(format string, open *structpb.Struct, heldBack []string) []Loss {
	var out []Loss
	for source, v := range open.GetFields() {
		if source == format {
			continue
		}
		for name := range v.GetStructValue().GetFields() {
			out = append(out, Loss{Field: "extensions." + source + "." + name, Reason: "The format has no member for what the record of " + source + " says there; it is given back in a feed of " + source + "."})
		}
	}
	for _, source := range heldBack {
		out = append(out, Loss{Field: "extensions." + source, Reason: "What the record has for its owner only, of people, or of ways to join is not given out."})
	}
	slices.SortFunc(out, func(a, b Loss) int { return strings.Compare(a.Field, b.Field) })
	return out
}
