package main

import (
	"strings"
	"testing"
)

func TestSchedulePreview(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, args, want string }{
		{"a rule across daylight saving", "--rrule FREQ=WEEKLY --start 2027-03-25T19:00 --zone Europe/Berlin --count 2", "2027-03-25T19:00:00+01:00 2027-04-01T19:00:00+02:00"},
		{"two rules, extra dates, exceptions, basic form", "--rrule FREQ=WEEKLY;BYDAY=TU --rrule FREQ=MONTHLY;BYMONTHDAY=1 --start 20270301T190000 --zone UTC --rdate 2027-03-03T08:00,2027-03-04T08:00 --exdate 2027-03-02T19:00 --until 2027-03-09",
			"2027-03-01T19:00:00+00:00 2027-03-03T08:00:00+00:00 2027-03-04T08:00:00+00:00 2027-03-09T19:00:00+00:00"},
		{"an instant is in it", "--rrule FREQ=DAILY --start 2027-03-01T19:00 --zone America/Chicago --until 2027-03-03T01:00:00Z", "2027-03-01T19:00:00-06:00 2027-03-02T19:00:00-06:00"},
		{"instants as exceptions", "--rrule FREQ=DAILY;COUNT=2 --start 20270301T190000Z --zone America/Chicago --exdate 2027-03-01T13:00:00-06:00 --count 9", "2027-03-02T13:00:00-06:00"},
		{"no rule", "--start 2027-03-14T02:30 --zone America/New_York --count 9", "2027-03-14T03:30:00-04:00"},
		{"an end that is never reached", "--rrule FREQ=YEARLY --start 2028-02-29T10:00 --zone UTC --until 2033-01-01", "2028-02-29T10:00:00+00:00 2032-02-29T10:00:00+00:00"},
		{"no start", "--zone UTC --count 1", "--start is needed"},
		{"no zone", "--start 2027-03-14T02:30 --count 1", "--zone is needed"},
		{"no end", "--start 2027-03-14T02:30 --zone UTC", "--until or --count is needed"},
		{"a bad zone", "--start 2027-03-14T02:30 --zone Mars/Olympus --count 1", `--zone: "Mars/Olympus" is no IANA time zone`},
		{"a bad start", "--start 2027-02-30T02:30 --zone UTC --count 1", "--start: "},
		{"a bad second rule", "--rrule FREQ=DAILY --rrule FREQ=DAYLY --start 2027-03-14T02:30 --zone UTC --count 1", "--rrule: FREQ "},
		{"a rule that never occurs", "--rrule FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30 --start 2027-03-14T02:30 --zone UTC --count 1", "--rrule: BYMONTHDAY "},
		{"two seconds", "--rrule FREQ=SECONDLY --start 2024-02-29T10:00 --zone UTC --until 2024-02-29T10:00:01", "2024-02-29T10:00:00+00:00 2024-02-29T10:00:01+00:00"},
		{"seconds west of a change", "--rrule FREQ=SECONDLY --start 2024-03-10T01:59:59 --zone America/Los_Angeles --until 2024-03-10T03:00:00", "2024-03-10T01:59:59-08:00 2024-03-10T03:00:00-07:00"},
		{"too many seconds", "--rrule FREQ=SECONDLY --start 2027-03-14T02:30 --zone UTC --until 2099-01-01", "there are more than 100000 up to 2099-01-01; ask for an earlier --until"},
		{"too many days", "--rrule FREQ=DAILY --start 2024-02-29T10:00 --zone UTC --until 2400-01-01", "there are more than 100000 up to 2400-01-01; ask for an earlier --until"},
		{"too dear", "--rrule FREQ=SECONDLY;BYSECOND=0;BYMINUTE=0 --start 2027-03-14T02:30 --zone UTC --until 2099-01-01", "FREQ makes a rule that costs too much"},
		{"a bad count", "--start 2027-03-14T02:30 --zone UTC --count -1", "--count is -1; it must be a whole number from 1 to 100000"},
		{"a count of none", "--start 2027-03-14T02:30 --zone UTC --count 0", "--count is 0; it must be a whole number from 1 to 100000"},
		{"no count", "--start 2027-03-14T02:30 --zone UTC --count abc", "--count is abc; it must be a whole number from 1 to 100000"},
		{"a bad end", "--start 2027-03-14T02:30 --zone UTC --until soon", `--until: "soon"`},
		{"a bad exception", "--start 2027-03-14T02:30 --zone UTC --count 1 --exdate never", `--exdate: "never"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := rootCommand()
			var out strings.Builder
			cmd.SetOut(&out)
			cmd.SetArgs(append([]string{"schedule", "preview"}, strings.Fields(tt.args)...))
			got := ""
			if err := cmd.ExecuteContext(t.Context()); err != nil {
				got = err.Error()
			} else {
				got = strings.Join(strings.Fields(out.String()), " ")
			}
			if got != tt.want && (tt.want[0] == '2' || !strings.Contains(got, tt.want)) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestSchedulePreviewMost prints as many as it says it does.
func TestSchedulePreviewMost(t *testing.T) {
	t.Parallel()
	for _, freq := range []string{"SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "DAILY;BYDAY=MO"} {
		t.Run(freq, func(t *testing.T) {
			t.Parallel()
			cmd := rootCommand()
			var out strings.Builder
			cmd.SetOut(&out)
			cmd.SetArgs([]string{"schedule", "preview", "--rrule", "FREQ=" + freq, "--start", "2027-03-01T02:30", "--zone", "UTC", "--count", "100000"})
			if err := cmd.ExecuteContext(t.Context()); err != nil || strings.Count(out.String(), "\n") != 100_000 {
				t.Errorf("%d lines, %v; want 100000", strings.Count(out.String(), "\n"), err)
			}
		})
	}
}

func TestScheduleHelp(t *testing.T) {
	t.Parallel()
	cmd := rootCommand()
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"schedule", "preview", "--help"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "--data-dir") || !strings.Contains(out.String(), "--exdate") {
		t.Errorf("the help has settings of a server, or lacks the command's own:\n%s", &out)
	}
}
