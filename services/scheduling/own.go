package scheduling

import (
	"slices"

	"github.com/google/uuid"

	"cairn.care/services/chassis/aip"
)

// own are the fields of which a session may have something of its own.
func own() []string {
	return []string{"topic", "activity", "guest_speaker", "format", "place", "room", "seats", "online_seats", "facilitators"}
}

func (r sessionRow) overrides(field string) bool { return slices.Contains(r.Overrides, field) }

// override notes fields in which the session no longer follows its series.
func (r *sessionRow) override(fields ...string) {
	r.Overrides = slices.Concat(r.Overrides, fields)
	slices.Sort(r.Overrides)
	r.Overrides = slices.Compact(r.Overrides)
}

// obey notes fields in which the session follows its series again.
func (r *sessionRow) obey(fields ...string) {
	r.Overrides = slices.DeleteFunc(slices.Clone(r.Overrides), func(f string) bool { return slices.Contains(fields, f) })
	for _, f := range fields {
		switch f {
		case "guest_speaker":
			r.GuestSpeaker = "" // a series has none
		case "facilitators":
			r.Substitutes = nil
		}
	}
}

// follow gives the session what its series says of the occurrence with that place, where it has nothing of its own.
func (r *sessionRow) follow(series seriesRow, index int) {
	if !r.overrides("topic") {
		r.Topic = series.topic(index)
	}
	r.followAll(series)
}

// followAll is follow but for the topic.
func (r *sessionRow) followAll(series seriesRow) {
	if !r.overrides("activity") {
		r.Activity = series.Activity
	}
	if !r.overrides("format") {
		r.Format = series.Format
	}
	if !r.overrides("place") {
		r.Place = series.Place
	}
	if !r.overrides("room") {
		r.RoomID = series.RoomID
	}
	if !r.overrides("seats") {
		r.Seats = series.Seats
	}
	if !r.overrides("online_seats") {
		r.OnlineSeats = series.OnlineSeats
	}
	if !r.overrides("facilitators") {
		r.Facilitators = series.Facilitators
	}
}

// overlook has the session's facilitators and room be those of its series, of which some may have been left out for being
// taken.
func (r *sessionRow) overlook(series seriesRow) {
	if !r.takesPlace() {
		return
	}
	if !r.overrides("facilitators") {
		r.Facilitators = series.Facilitators
	}
	if !r.overrides("room") {
		r.RoomID = series.RoomID
	}
}

// free gives up who leads the session and where: if it takes place again, it has those of its series.
func (r *sessionRow) free() {
	r.obey("facilitators", "room")
	r.Facilitators, r.RoomID = nil, nil
}

// sameAsSeries tells whether two versions of a session are the same in what they have of their series, but for the facilitators.
func (r sessionRow) sameAsSeries(o sessionRow) bool {
	return r.Format == o.Format && r.Place == o.Place && r.Topic == o.Topic && r.Activity == o.Activity && r.Seats == o.Seats &&
		r.OnlineSeats == o.OnlineSeats && sameID(r.RoomID, o.RoomID)
}

func sameID(a, b *uuid.UUID) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func roomName(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return aip.Name("rooms", *id)
}
