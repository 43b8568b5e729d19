package recurrence_test

import (
	"strings"
	"testing"
	"time"

	"cairn.care/services/recurrence"
)

// A zone has its names in the IANA database, and no other: each further one would be remembered.
func TestZonesGoByTheirNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia", "America/Port-au-Prince", "America/Indiana/Tell_City",
		"Asia/Calcutta", "US/Eastern", "Etc/GMT+12", "GMT-0", "EST5EDT", "GB-Eire", "NZ-CHAT",
	} {
		zone, err := recurrence.Zone(name)
		if err != nil || zone.String() != name {
			t.Errorf("%q: %v, %v", name, zone, err)
		}
		if again, err := recurrence.Zone(name); again != zone || err != nil {
			t.Errorf("%q is read again: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "Local", "local", "localtime", "posixrules", "Factory", "America//New_York", "America/././New_York", "America/New_York/",
		"/America/New_York", "./America/New_York", "America/../America/New_York", "posix/America/New_York", "right/America/New_York",
		"America/New_York\n", "America", "America/Nowhere", "zone.tab", "america/new_york", "America/" + strings.Repeat("X", 100),
	} {
		if zone, err := recurrence.Zone(name); err == nil {
			t.Errorf("%q is the zone %v", name, zone)
		}
	}
}

// The zone is usable the moment that it is had, however many ask at once.
func TestZonesAreSharedByThoseWhoAskAtOnce(t *testing.T) {
	t.Parallel()
	got := make(chan *time.Location)
	for range 8 {
		go func() {
			zone, err := recurrence.Zone("Pacific/Kiritimati")
			if err != nil {
				t.Error(err)
			}
			got <- zone
		}()
	}
	first := <-got
	for range 7 {
		if next := <-got; next != first {
			t.Error("the same zone was remembered twice")
		}
	}
}
