// Package cairn reads what another Cairn tells of its directory: pages of GET /v1/directory:changes.
//
// Each group keeps where it comes from: its name there is its external_id, and extensions hold its owner. Groups that the other
// Cairn follows itself are left out: whoever wants them follows where they come from, so that no change goes round in circles.
package cairn

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// Name is the format's.
const Name = "cairn"

const (
	pageSize   = 200
	maxRegular = 40 // regular_times of a group
)

// Format reads pages of changes.
type Format struct{}

// Name is the format as feeds call it.
func (Format) Name() string { return Name }

// Follows tells whether a source system is that of groups that a Cairn has from another one.
func Follows(sourceSystem string) bool {
	return sourceSystem == Name || strings.HasPrefix(sourceSystem, Name+":")
}

// change is a change as far as it must be known to be found again.
type change struct {
	Group *struct {
		Name         string `json:"name"`
		SourceSystem string `json:"sourceSystem"`
	} `json:"group"`
	Removal *struct {
		Group string `json:"group"`
	} `json:"removal"`
}

// Records splits pages into changes.
func (Format) Records(feed io.Reader, _ formats.Options) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		pages := formats.JSON{Paths: []string{"changes"}, Want: "list of changes as /v1/directory:changes gives it"}
		for r, err := range pages.Split(feed) {
			if err != nil {
				yield(formats.Record{}, err)
				return
			}
			if r.Rejected == nil {
				var c change
				err := json.Unmarshal(r.Raw, &c)
				switch {
				case err != nil || (c.Group == nil) == (c.Removal == nil):
					r.Rejected = formats.Reject(r.Row, "", string(r.Raw), "is no change: it has either a group or a removal")
				case c.Removal != nil:
					r.ID, r.Raw, r.Removed = c.Removal.Group, nil, true
				case Follows(c.Group.SourceSystem):
					continue
				default:
					r.ID = c.Group.Name
				}
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Entry decodes a change. What a newer Cairn says and this one does not know is left out.
func (Format) Entry(r formats.Record, _ formats.Options) (*formats.Entry, []formats.Rejected) {
	var c groupsv1.Change
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: formats.MaxDepth}).Unmarshal(r.Raw, &c); err != nil {
		words := strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:"))
		return nil, []formats.Rejected{*formats.Reject(r.Row, "group", string(r.Raw), "cannot be read: %s", words)}
	}
	g := c.GetGroup()
	if g == nil {
		return nil, []formats.Rejected{*formats.Reject(r.Row, "group", "", "is missing")}
	}
	origin := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for key, value := range map[string]string{
		"name": g.GetName(), "organization": g.GetOrganization(), "sourceSystem": g.GetSourceSystem(), "externalId": g.GetExternalId(),
	} {
		if value != "" {
			origin.Fields[key] = structpb.NewStringValue(value)
		}
	}
	// What is planned there by hand is all that anybody here learns of it.
	for _, t := range g.GetAvailability().GetPlannedTimes() {
		if len(g.GetRegularTimes()) < maxRegular {
			g.RegularTimes = append(g.RegularTimes, t)
		}
	}
	closed := g.GetState() == groupsv1.Group_PAUSED
	g.ExternalId, g.SourceSystem = g.GetName(), Name
	g.Extensions = &structpb.Struct{Fields: map[string]*structpb.Value{Name: structpb.NewStructValue(origin)}}
	g.Name, g.Organization, g.Etag, g.State, g.PauseReason, g.AcceptsIntake = "", "", "", 0, 0, false
	g.Availability, g.Facilitators, g.CreateTime, g.UpdateTime, g.DeleteTime, g.MergedInto = nil, nil, nil, nil, nil, ""
	return &formats.Entry{Group: g, Closed: closed}, nil
}

// Page is what a page of changes says of itself.
type Page struct {
	Groups []string // that it tells of
	Token  string   // to go on with
	More   bool
}

// PageAt returns the address of the page after a token, of all that the other Cairn has if it is empty.
func PageAt(changes *url.URL, token string) *url.URL {
	at := *changes
	q := at.Query()
	q.Set("pageSize", strconv.Itoa(pageSize))
	q.Del("syncToken")
	if token != "" {
		q.Set("syncToken", token)
	}
	at.RawQuery = q.Encode()
	return &at
}

// ReadPage reads what a page says of itself. Its error is for a person.
func ReadPage(raw []byte) (Page, error) {
	var p struct {
		Changes []change `json:"changes"`
		Token   string   `json:"nextSyncToken"`
		More    bool     `json:"hasMore"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return Page{}, fmt.Errorf("the answer is no list of changes as /v1/directory:changes gives it: %w", err)
	}
	if p.Token == "" {
		return Page{}, fmt.Errorf("the answer has no nextSyncToken: is the URL that of /v1/directory:changes of a Cairn?")
	}
	out := Page{Token: p.Token, More: p.More}
	for _, c := range p.Changes {
		switch {
		case c.Group != nil && !Follows(c.Group.SourceSystem):
			out.Groups = append(out.Groups, c.Group.Name)
		case c.Removal != nil:
			out.Groups = append(out.Groups, c.Removal.Group)
		}
	}
	return out, nil
}
