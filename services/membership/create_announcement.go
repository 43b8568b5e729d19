package membership

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateAnnouncement implements GroupAppsService.
func (s *server) CreateAnnouncement(ctx context.Context, req *membershipv1.CreateAnnouncementRequest) (*membershipv1.Announcement, error) {
	group, err := aip.ParseName("parent", "groups", req.GetParent())
	if err != nil {
		return nil, err
	}
	a, now := req.GetAnnouncement(), s.clock.Now()
	var expire *time.Time
	if t := a.GetExpireTime(); t != nil {
		at := t.AsTime()
		expire = &at
	}
	var bad []*fault.Violation
	if strings.TrimSpace(a.GetTitle()) == "" {
		bad = append(bad, fault.Field("announcement.title", "is needed: what it is about"))
	}
	if strings.TrimSpace(a.GetText()) == "" {
		bad = append(bad, fault.Field("announcement.text", "is needed: what there is to say"))
	}
	if expire != nil && !expire.After(now) {
		bad = append(bad, fault.Field("announcement.expire_time", "is over already"))
	}
	if len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	if err := s.known(ctx, group); err != nil {
		return nil, err
	}
	var answer *membershipv1.Announcement
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		who, err := footingIn(ctx, tx, group)
		if err != nil {
			return err
		}
		if err := mayAnnounce(who, req.GetParent()); err != nil {
			return err
		}
		g, err := findGroup(ctx, tx, group, lockToRequest)
		if err != nil {
			return fmt.Errorf("lock group: %w", err)
		}
		if g.Deleted { // just now
			return fault.NotFound(req.GetParent())
		}
		if g.Archived {
			return fault.Precondition("GROUP_ARCHIVED", g.name(), "the group is archived: nobody is in it any more")
		}
		row := &announcementRow{
			ID: aip.NewID(), OrgID: g.OrgID, GroupID: group, Author: author(ctx, who, g),
			Delivery:   int32(cmp.Or(a.GetDelivery(), membershipv1.Announcement_APP)),
			ExpireTime: expire, CreateTime: now,
		}
		row.Mailing = membershipv1.Announcement_Delivery(row.Delivery) == membershipv1.Announcement_APP_AND_EMAIL && s.mail.On()
		if row.Body, err = crypt.SealProto(s.keys.AEAD(), row.name(), bodyField, &membershipv1.Announcement{Title: a.GetTitle(), Text: a.GetText()}); err != nil {
			return err
		}
		if answer, err = row.toProto(s.keys); err != nil {
			return err
		}
		b := new(pgx.Batch)
		insertAnnouncement(b, row)
		if err := idem.Save(ctx, b, answer); err != nil {
			return err
		}
		return send(ctx, tx, b)
	})
	return answer, err
}

// mayAnnounce returns why the caller may not speak for a group: it is not there for her, or she is one of its members only.
func mayAnnounce(who footing, group string) error {
	switch {
	case who.speaks():
		return nil
	case who.inside():
		return fault.Denied("NOT_A_LEADER", "only those who lead the group, and its co-facilitators, make announcements")
	}
	return fault.NotFound(group)
}

// author returns who makes an announcement.
func author(ctx context.Context, who footing, g *groupRow) string {
	self, only := auth.SelfFrom(ctx)
	switch {
	case only && who.Leads:
		return self.Facilitator
	case who.Membership != uuid.Nil:
		return aip.Name("memberships", who.Membership)
	}
	return aip.Name("organizations", g.OrgID)
}
