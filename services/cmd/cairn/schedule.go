package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cairn.care/services/recurrence"
)

func scheduleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule preview …",
		Short: "Work out when a series takes place",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("say what to do: cairn schedule preview --help")
		},
	}
	cmd.AddCommand(previewCommand())
	return cmd
}

// series is a series as the flags have it.
type series struct {
	rules           []string
	start, zone     string
	rdates, exdates []string
	until, count    string
}

func previewCommand() *cobra.Command {
	var s series
	cmd := &cobra.Command{
		Use:   "preview --start LOCAL --zone ZONE [--rrule RULE]… [--rdate LOCAL]… [--exdate LOCAL]… --until TIME|--count N",
		Short: "Print when a series takes place, one instant a line",
		Long: `Prints the starts of a series by RFC 5545, one a line in RFC 3339 with the zone's offset. It needs no server.

LOCAL is a wall clock in the zone, 2027-03-04T19:00 (or 20270304T190000); with a Z or an offset it is an instant. A time that daylight
saving skips is read with the offset before the gap, one that occurs twice is the first.`,
		Example: `  cairn schedule preview --rrule "FREQ=MONTHLY;BYDAY=1TU" --start 2027-03-02T19:00 --zone Europe/Berlin --count 12
  cairn schedule preview --rrule "FREQ=WEEKLY;BYDAY=TH" --start 2027-03-04T18:30 --zone America/Chicago --exdate 2027-11-25T18:30 --until 2027-12-31`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.preview(cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.rules, "rrule", nil, "RRULE value; may be given several times; none: it does not repeat")
	f.StringVar(&s.start, "start", "", "first start, LOCAL")
	f.StringVar(&s.zone, "zone", "", "IANA time zone, such as Europe/Berlin")
	f.StringSliceVar(&s.rdates, "rdate", nil, "extra start, LOCAL; several separated by commas")
	f.StringSliceVar(&s.exdates, "exdate", nil, "start that does not take place, LOCAL; several separated by commas")
	f.StringVar(&s.until, "until", "", "last instant to print: LOCAL, or a date, which reaches to its end")
	f.StringVar(&s.count, "count", "", "how many to print at most, a `number` from 1 to 100000")
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) { // without the settings of a server, which it does not need
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
		cmd.Root().HelpFunc()(cmd, args)
	})
	return cmd
}

// most is how many occurrences a preview prints.
const most = 100_000

func (s series) preview(out io.Writer) error {
	count, counted := most, s.count != ""
	if counted {
		n, err := strconv.Atoi(s.count)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("--count is %s; it must be a whole number from 1 to %d", s.count, most)
		}
		count = n
	}
	switch {
	case s.start == "":
		return errors.New("--start is needed: the first start, such as 2027-03-04T19:00")
	case s.zone == "":
		return errors.New("--zone is needed: an IANA time zone, such as Europe/Berlin")
	case s.until == "" && !counted:
		return errors.New("--until or --count is needed: a series may go on for ever")
	}
	zone, err := recurrence.Zone(s.zone)
	if err != nil {
		return fmt.Errorf("--zone: %w", err)
	}
	spec := recurrence.Spec{TimeZone: s.zone, Loose: true}
	for i, rule := range s.rules {
		if i == 0 {
			spec.RRule = rule
			continue
		}
		spec.Further = append(spec.Further, rule)
	}
	if spec.Start, err = local("--start", s.start, zone); err != nil {
		return err
	}
	if spec.RDates, err = locals("--rdate", s.rdates, zone); err != nil {
		return err
	}
	if spec.ExDates, err = locals("--exdate", s.exdates, zone); err != nil {
		return err
	}
	set, err := recurrence.Parse(spec)
	if err != nil {
		return flagged(err)
	}
	to := recurrence.End()
	if s.until != "" {
		if to, err = upTo(s.until, zone); err != nil {
			return err
		}
	}
	list, more, err := set.First(time.Time{}, to, count)
	if err != nil {
		return flagged(err)
	}
	w := bufio.NewWriter(out)
	for _, o := range list {
		at := o.Start().In(set.Zone)
		if _, offset := at.Zone(); offset%60 != 0 {
			at = o.Start() // RFC 3339 has no word for the seconds of local mean time
		}
		if _, err := fmt.Fprintln(w, at.Format("2006-01-02T15:04:05-07:00")); err != nil {
			return err
		}
	}
	if !counted && more == recurrence.MoreInside {
		return errors.Join(w.Flush(), fmt.Errorf("there are more than %d up to %s; ask for an earlier --until", most, s.until))
	}
	return w.Flush()
}

// flagged says of an error of the series which flag it is about.
func flagged(err error) error {
	e, ok := errors.AsType[*recurrence.Error](err)
	if !ok {
		return err
	}
	flag, _, _ := strings.Cut(e.Field, "[")
	switch flag {
	case "further_rrules", "rrule":
		flag = "rrule"
	case "local_start":
		flag = "start"
	case "rdates", "exdates":
		flag = strings.TrimSuffix(flag, "s")
	case "time_zone":
		flag = "zone"
	}
	return fmt.Errorf("--%s: %w", flag, e)
}

// local reads a wall clock, or an instant as a clock in the zone shows it, into the form that a series has.
func local(flag, text string, zone *time.Location) (string, error) {
	for _, layout := range []string{time.RFC3339, "20060102T150405Z07:00", "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return recurrence.FormatLocal(recurrence.WallClock(at, zone)), nil
		}
	}
	for _, layout := range []string{"20060102T150405", "20060102T1504", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return recurrence.FormatLocal(at), nil
		}
	}
	return "", fmt.Errorf("%s: %q is no time such as 2027-03-04T19:00", flag, text)
}

func locals(flag string, texts []string, zone *time.Location) ([]string, error) {
	var list []string
	for _, text := range texts {
		at, err := local(flag, text, zone)
		if err != nil {
			return nil, err
		}
		list = append(list, at)
	}
	return list, nil
}

// upTo reads the instant before which all is printed: the one that is given is the last that is.
func upTo(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, "20060102"} {
		if day, err := time.Parse(layout, text); err == nil {
			return recurrence.Instant(day.AddDate(0, 0, 1), zone), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "20060102T150405Z07:00", "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.Add(time.Second), nil
		}
	}
	wall, err := local("--until", text, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("--until: %q is neither a date such as 2027-12-31 nor a time such as 2027-12-31T19:00", text)
	}
	at, err := recurrence.Local(wall)
	if err != nil {
		return time.Time{}, fmt.Errorf("--until: %w", err)
	}
	return recurrence.Instant(at, zone).Add(time.Second), nil
}
