package membership

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/fault"
)

// announcementRow is a row of announcements.
type announcementRow struct {
	ID         uuid.UUID
	OrgID      uuid.UUID
	GroupID    uuid.UUID
	Author     string
	Body       []byte // nil once it was taken back
	Delivery   int32
	ExpireTime *time.Time
	CreateTime time.Time
	DeleteTime *time.Time
	Mailing    bool
	MailAfter  uuid.UUID
	Emails     int32
}

const announcementColumns = `a.id, a.org_id, a.group_id, a.author, a.body, a.delivery, a.expire_time, a.create_time, a.delete_time, a.mailing, a.mail_after, a.emails`

// current is the condition for an announcement a to be shown.
const current = `a.delete_time IS NULL AND (a.expire_time IS NULL OR a.expire_time > @now)`

func (r *announcementRow) name() string {
	return aip.Name("groups", r.GroupID) + "/" + aip.Name("announcements", r.ID)
}

// bodyField is the field name that an announcement's words are sealed for.
const bodyField = "body"

func (r *announcementRow) toProto(ks *crypt.Keyset) (*membershipv1.Announcement, error) {
	a := new(membershipv1.Announcement)
	if err := crypt.OpenProto(ks.AEAD(), r.name(), bodyField, r.Body, a); err != nil {
		return nil, err
	}
	a.Name, a.Author, a.Emails = r.name(), r.Author, r.Emails
	a.Delivery, a.ExpireTime, a.CreateTime = membershipv1.Announcement_Delivery(r.Delivery), timestamp(r.ExpireTime), timestamppb.New(r.CreateTime)
	return a, nil
}

func insertAnnouncement(b *pgx.Batch, r *announcementRow) {
	b.Queue(`INSERT INTO announcements (id, org_id, group_id, author, body, delivery, expire_time, create_time, mailing, mail_after, emails)
		VALUES (@id, @org, @group, @author, @body, @delivery, @expire, @create, @mailing, @after, 0)`, pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "group": r.GroupID, "author": r.Author, "body": r.Body, "delivery": r.Delivery,
		"expire": r.ExpireTime, "create": r.CreateTime, "mailing": r.Mailing, "after": r.MailAfter,
	})
}

// announcementName reads the name of an announcement.
func announcementName(name string) (group, id uuid.UUID, err error) {
	parent, last, _ := strings.Cut(name, "/announcements/")
	if group, err = aip.ParseName("name", "groups", parent); err != nil {
		return uuid.Nil, uuid.Nil, err
	}
	id, err = aip.ParseName("name", "announcements", "announcements/"+last)
	return group, id, err
}

// findAnnouncement returns an announcement that has not been taken back; lock is appended to the query.
func findAnnouncement(ctx context.Context, tx pgx.Tx, name string, lock string) (*announcementRow, error) {
	group, id, err := announcementName(name)
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var row *announcementRow
	b := new(pgx.Batch)
	b.Queue(`SELECT `+announcementColumns+` FROM announcements a
		WHERE a.id = @id AND a.group_id = @group AND a.delete_time IS NULL AND (@all OR a.org_id = @org) `+lock,
		pgx.NamedArgs{"id": id, "group": group, "all": tenant.All, "org": tenant.Org}).Query(atMostOne(&row))
	if err := send(ctx, tx, b); err != nil {
		return nil, fmt.Errorf("find announcement: %w", err)
	}
	if row == nil {
		return nil, fault.NotFound(name)
	}
	return row, nil
}
