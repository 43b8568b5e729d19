package groups

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
)

// maxSessions is how many next sessions a Group shows.
const maxSessions = 10

// groupRow is a group as the tables groups, group_private and availability hold it.
type groupRow struct {
	groupKey
	Body    []byte
	Private []byte // nil: nothing private, or not for this caller

	OpenSeats      *int32
	WaitlistLength int32
	NextSessions   []time.Time
	TimeZone       string // of the sessions
	Planned        []byte // Group.Availability with planned_times only
}

// toProto returns the group of a row as of now.
func (r *groupRow) toProto(now time.Time) (*groupsv1.Group, error) {
	g := &groupsv1.Group{}
	if err := proto.Unmarshal(r.Body, g); err != nil {
		return nil, fmt.Errorf("decode group %s: %w", r.ID, err)
	}
	if r.Private != nil {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(r.Private, g); err != nil {
			return nil, fmt.Errorf("decode private part of group %s: %w", r.ID, err)
		}
	}
	r.into(g)
	a := &groupsv1.Group_Availability{OpenSeats: r.OpenSeats, WaitlistLength: r.WaitlistLength, TimeZone: r.TimeZone}
	for _, s := range r.NextSessions {
		if s.After(now) && len(a.NextSessions) < maxSessions {
			a.NextSessions = append(a.NextSessions, timestamppb.New(s))
		}
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(r.Planned, a); err != nil {
		return nil, fmt.Errorf("decode planned times of group %s: %w", r.ID, err)
	}
	if a.GetTimeZone() == "" {
		a.TimeZone = g.GetTimeZone()
	}
	g.Availability = a
	return g, nil
}

// into sets the fields that the columns hold.
func (k *groupKey) into(g *groupsv1.Group) {
	g.Name = aip.Name("groups", k.ID)
	g.Organization = aip.Name("organizations", k.OrgID)
	g.State = groupsv1.Group_State(k.State)
	g.PauseReason = groupsv1.Group_PauseReason(k.PauseReason)
	g.AcceptsIntake = g.GetState() == groupsv1.Group_PUBLISHED && k.DeleteTime == nil && k.MergedInto == nil
	g.CreateTime = timestamppb.New(k.CreateTime)
	g.UpdateTime = timestamppb.New(k.UpdateTime)
	g.DeleteTime = nil
	if k.DeleteTime != nil {
		g.DeleteTime = timestamppb.New(*k.DeleteTime)
	}
	g.MergedInto = ""
	if k.MergedInto != nil {
		g.MergedInto = aip.Name("groups", *k.MergedInto)
		if k.DeleteTime == nil {
			g.DeleteTime = timestamppb.New(*k.MergeTime)
		}
	}
	g.Etag = aip.ETag(k.Revision)
}

// written returns a copy of what clients write of the group: the content of the bodies.
func written(g *groupsv1.Group) *groupsv1.Group {
	w := proto.CloneOf(g)
	strip(w)
	return w
}

// strip takes from the group what clients do not write.
func strip(g *groupsv1.Group) {
	g.Name, g.Organization, g.Etag, g.AcceptsIntake = "", "", "", false
	g.State, g.PauseReason, g.MergedInto = 0, 0, ""
	g.Availability, g.CreateTime, g.UpdateTime, g.DeleteTime = nil, nil, nil, nil
}

// split divides what clients write into what the public may see and what only the owner does. The private part is nil if
// there is none. Merged over the public part it gives the whole again.
func split(w *groupsv1.Group) (public, private *groupsv1.Group) {
	public, private = proto.CloneOf(w), &groupsv1.Group{}
	if o := public.GetOnline(); o != nil && (o.GetJoinUri() != "" || o.GetPhone() != "" || o.GetJoinInstructions() != "") {
		private.Online = &groupsv1.Group_Online{JoinUri: o.GetJoinUri(), Phone: o.GetPhone(), JoinInstructions: o.GetJoinInstructions()}
		o.JoinUri, o.Phone, o.JoinInstructions = "", "", ""
	}
	if v := public.GetVenue(); v.GetKind() == groupsv1.Group_Venue_HOME {
		home := &groupsv1.Group_Venue{Label: v.GetLabel(), Directions: v.GetDirections()}
		v.Label, v.Directions = "", ""
		if lines := v.GetAddress().GetAddressLines(); len(lines) > 0 || v.GetAddress().GetPostalCode() != "" {
			home.Address = &typev1.PostalAddress{AddressLines: lines, PostalCode: v.GetAddress().GetPostalCode()}
			v.Address.AddressLines, v.Address.PostalCode = nil, ""
		}
		if at := v.GetLocation(); at != nil {
			home.Location, home.Precision = at, v.GetPrecision()
			v.Location = &latlng.LatLng{Latitude: rounded(at.GetLatitude()), Longitude: rounded(at.GetLongitude())}
			v.Precision = groupsv1.Group_Venue_APPROXIMATE
		}
		private.Venue = home
	}
	private.Extensions, public.Extensions = public.GetExtensions(), nil
	if proto.Size(private) == 0 {
		return public, nil
	}
	return public, private
}

// rounded cuts a coordinate to about a kilometre.
func rounded(degrees float64) float64 { return math.Round(degrees*100) / 100 }

// bodies returns the encoded parts of the group.
func bodies(g *groupsv1.Group) (public *groupsv1.Group, body, private []byte, err error) {
	return parts(written(g))
}

// ownParts is parts for a group without extensions; it copies the group only if there is something to hide.
func ownParts(w *groupsv1.Group) (body, private []byte, err error) {
	if o := w.GetOnline(); w.GetVenue().GetKind() == groupsv1.Group_Venue_HOME || o.GetJoinUri() != "" || o.GetPhone() != "" || o.GetJoinInstructions() != "" {
		_, body, private, err = parts(w)
		return body, private, err
	}
	if body, err = proto.Marshal(w); err != nil {
		return nil, nil, fmt.Errorf("encode group: %w", err)
	}
	return body, nil, nil
}

// parts returns the encoded parts of a group of which only what clients write is set.
func parts(w *groupsv1.Group) (public *groupsv1.Group, body, private []byte, err error) {
	public, hidden := split(w)
	if body, err = proto.Marshal(public); err != nil {
		return nil, nil, nil, fmt.Errorf("encode group: %w", err)
	}
	if hidden != nil {
		if private, err = proto.Marshal(hidden); err != nil {
			return nil, nil, nil, fmt.Errorf("encode private part of group: %w", err)
		}
	}
	return public, body, private, nil
}
