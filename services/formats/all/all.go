// Package all knows every outward format by its name.
package all

import (
	"fmt"

	"cairn.care/services/formats"
	"cairn.care/services/formats/csv"
	"cairn.care/services/formats/hsds"
	"cairn.care/services/formats/ical"
	"cairn.care/services/formats/meetingguide"
)

// Writer writes groups one after another: Begin, the records with Between between them, End. A record may be empty, since a
// format leaves out groups that it would show as what they are not.
type Writer struct {
	ContentType         string
	Begin, Between, End string

	// Write writes one group's record and says what it cannot say.
	Write func(formats.Listing) ([]byte, []formats.Loss, error)
}

// WriterOf returns the writer of a format: "hsds", "meeting-guide" or "csv".
func WriterOf(name string) (Writer, bool) {
	switch name {
	case hsds.Format{}.Name():
		return Writer{ContentType: "application/json", Begin: "[", Between: ",\n", End: "]\n", Write: hsds.Write}, true
	case meetingguide.Format{}.Name():
		return Writer{ContentType: "application/json", Begin: "[", Between: ",\n", End: "]\n", Write: meetingguide.Write}, true
	case csv.Format{}.Name():
		return Writer{ContentType: "text/csv; charset=utf-8; header=present", Begin: string(csv.Header()), Write: csv.Write}, true
	}
	return Writer{}, false
}

// Losses says what a group's public record in an outward format, "hsds", "meeting-guide", "csv" or "ical", cannot say.
func Losses(format string, l formats.Listing) ([]formats.Loss, error) {
	if format == ical.Name {
		return ical.Losses(l)
	}
	w, ok := WriterOf(format)
	if !ok {
		return nil, fmt.Errorf("the directory is not written as %q", format)
	}
	_, losses, err := w.Write(l)
	return losses, err
}
