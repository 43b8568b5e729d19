package e2e_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNonprofit is what a nonprofit's system does, over REST: it keeps its directory and its
// calendar, takes referrals on, and ends groups.
func TestNonprofit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")

	t.Run("the directory", func(t *testing.T) {
		// A therapy group is not public before a licence vouches for it.
		lead := nonprofit.post(t, "/v1/facilitators", obj{
			"displayName": "Ana Licensed", "licence": obj{
				"profession": "Psychologist", "number": "TX-1", "jurisdiction": "US-TX", "expireDate": obj{"year": w.now().Year() + 1, "month": 12, "day": 31},
			},
		}).ok(t)
		group := nonprofit.post(t, "/v1/groups", circle(func(g obj) {
			g["title"], g["kind"] = "Círculo de terapia", "GROUP_THERAPY"
			g["online"] = obj{"platform": "Zoom", "joinUri": "https://zoom.example/secret"}
			g["facilitators"] = list{obj{"facilitator": lead.at("name"), "role": "LEAD"}}
		})).ok(t)
		path := "/v1/" + group.text("name")
		search := func() *reply { return w.send(t, http.MethodGet, "/v1/groups:search?query=terapia", "").ok(t) }
		w.send(t, http.MethodGet, path, "").want(t, http.StatusNotFound, "NOT_FOUND") // a draft
		refused := nonprofit.post(t, path+":publish", obj{}).want(t, http.StatusBadRequest, "NOT_PUBLISHABLE")
		missing, _ := dig(refused.detail("PreconditionFailure"), "violations").([]any)
		if len(missing) != 2 { // the licence, and what the law protects
			t.Errorf("what is missing: %s", refused.body)
		}
		nonprofit.post(t, "/v1/"+lead.text("name")+":verifyLicence", obj{"evidence": "The register of Texas"}).ok(t)
		nonprofit.do(t, http.MethodPatch, path, obj{"confidentiality": "LEGALLY_MANDATED"}, "If-Match", group.header.Get("ETag")).ok(t)
		stale := nonprofit.do(t, http.MethodPatch, path, obj{"title": "Otro"}, "If-Match", group.header.Get("ETag"))
		stale.want(t, http.StatusPreconditionFailed, "ETAG_MISMATCH")
		nonprofit.post(t, path+":publish", obj{}).ok(t)

		// Now anybody finds it, without its private link.
		found := search()
		if len(found.list("results")) != 1 || found.text("results.0.group.name") != group.text("name") || strings.Contains(string(found.body), "secret") {
			t.Errorf("found: %s", found.body)
		}
		seen := w.send(t, http.MethodGet, path, "").ok(t)
		w.send(t, http.MethodGet, path, "", "If-None-Match", seen.header.Get("ETag")).want(t, http.StatusNotModified, "")
		if own := nonprofit.get(t, path).ok(t); own.text("online.joinUri") != "https://zoom.example/secret" {
			t.Errorf("its own: %s", own.body)
		}

		// Its sessions reach the directory by themselves and keep their hour across daylight saving.
		series := nonprofit.weekly(t, group.text("name"))
		until(t, "the directory knows the sessions", func() *reply { return w.send(t, http.MethodGet, path, "") },
			func(r *reply) bool { return len(r.list("availability.nextSessions")) > 0 })
		sessions := nonprofit.get(t, "/v1/sessions?pageSize=60&filter="+q(`series = "`+series.text("name")+`"`)).ok(t)
		hours := map[string]bool{}
		for _, s := range sessions.list("sessions") {
			hours[text(dig(s, "localStart"))[10:]] = true
		}
		if len(sessions.list("sessions")) < 52 || len(hours) != 1 {
			t.Errorf("%d sessions, at %v", len(sessions.list("sessions")), hours)
		}

		// Paused, it takes nobody; the day that the licence lapses, Cairn pauses it by itself.
		nonprofit.post(t, path+":pause", obj{}).ok(t)
		hospital.post(t, "/v1/referrals", w.person(group.text("name"))).want(t, http.StatusBadRequest, "GROUP_NOT_ACCEPTING")
		nonprofit.post(t, path+":publish", obj{}).ok(t)
		nonprofit.do(t, http.MethodPatch, "/v1/"+lead.text("name"), obj{"licence": obj{
			"profession": "Psychologist", "number": "TX-2", "jurisdiction": "US-TX", "expireDate": obj{"year": w.now().Year() + 2, "month": 12, "day": 31},
		}}).ok(t)
		until(t, "nobody vouches for the group any more", func() *reply { return nonprofit.get(t, path) },
			func(r *reply) bool { return r.text("state") == "PAUSED" && r.text("pauseReason") == "LICENCE_LAPSED" })
	})

	t.Run("referrals wait for it", func(t *testing.T) {
		group := nonprofit.openGroup(t)
		referral := hospital.refer(t, group, func(r obj) { r["consent"].(obj)["share"] = list{"NAME", "CONTACT"} })
		waiting := nonprofit.get(t, "/v1/referrals?filter="+q(`state = SENT AND requested_group = "`+group+`"`)).ok(t)
		if len(waiting.list("referrals")) != 1 || waiting.text("referrals.0.name") != referral {
			t.Fatalf("waiting: %s", waiting.body)
		}
		seen := nonprofit.get(t, "/v1/"+referral).ok(t)
		if seen.text("subject.phone") != "+17135550142" || seen.at("subject.birthDate") != nil || seen.at("subject.identifiers.0") != nil || seen.at("distress") != nil {
			t.Errorf("it sees more or less than the consent covers: %s", seen.body)
		}
		membership := nonprofit.accept(t, referral)
		member := nonprofit.get(t, "/v1/"+nonprofit.get(t, "/v1/"+membership).ok(t).text("member")).ok(t)
		if member.text("legalName") != "Rosa Example" || member.text("phone") != "+17135550142" || member.text("birthYear") != "0" {
			t.Errorf("its member: %s", member.body)
		}
		w.agree(t, membership)
		nonprofit.attend(t, hospital.becomes(t, referral, "SCHEDULED"), "PRESENT")
		nonprofit.becomes(t, referral, "ENGAGED")
		if done := nonprofit.post(t, "/v1/"+referral+":complete", obj{"outcome": obj{"helped": "YES"}}).ok(t); done.text("outcome.sessionsAttended") != "1" {
			t.Errorf("completed: %s", done.body)
		}
	})

	t.Run("the last seat", func(t *testing.T) {
		group := nonprofit.openGroup(t, func(g obj) { g["capacity"] = obj{"seats": 1} }) // nobody waits here
		membership := nonprofit.accept(t, hospital.refer(t, group))
		late := hospital.refer(t, group)
		nonprofit.post(t, "/v1/"+late+":accept", obj{}).want(t, http.StatusBadRequest, "GROUP_FULL")
		if still := hospital.get(t, "/v1/"+late).ok(t); still.text("state") != "SENT" {
			t.Errorf("refused a place, it is %s", still.body)
		}
		if got := hospital.timeline(t, late); got != "SEND REFUSE_PLACE" {
			t.Errorf("timeline: %s", got)
		}
		nonprofit.post(t, "/v1/"+membership+":end", obj{"reason": "RECOVERED"}).ok(t)
		nonprofit.accept(t, late)
	})

	t.Run("one of two claims", func(t *testing.T) {
		other := w.nonprofit(t, "Ola")
		referral := hospital.post(t, "/v1/referrals", w.person("", func(r obj) { delete(r, "requestedGroup") })).ok(t).text("name")
		for _, c := range []*caller{nonprofit, other} {
			open := c.get(t, "/v1/referrals:claimable").ok(t)
			if len(open.list("referrals")) != 1 || open.text("referrals.0.name") != referral {
				t.Fatalf("claimable: %s", open.body)
			}
			for _, personal := range []string{"Rosa", "Example", "\\+1713", `\b1971\b`, hospital.org, `placerNumber": ?"P`} {
				if regexp.MustCompile(personal).Match(open.body) {
					t.Errorf("before anybody claims it shows %s: %s", personal, open.body)
				}
			}
			c.get(t, "/v1/"+referral).want(t, http.StatusNotFound, "NOT_FOUND")
		}
		hospital.get(t, "/v1/referrals:claimable").want(t, http.StatusForbidden, "NOT_A_NONPROFIT")

		callers, answers := []*caller{nonprofit, other}, make([]*reply, 2)
		var both sync.WaitGroup
		for i, c := range callers {
			token := c.token(t)
			both.Go(func() {
				answers[i] = w.send(t, http.MethodPost, "/v1/"+referral+":claim", obj{}, "Authorization", "Bearer "+token)
			})
		}
		both.Wait()
		won := slices.IndexFunc(answers, func(r *reply) bool { return r.status == http.StatusOK })
		if won < 0 {
			t.Fatalf("nobody has it: %s, %s", answers[0].body, answers[1].body)
		}
		answers[1-won].want(t, http.StatusNotFound, "NOT_FOUND")
		winner := callers[won]
		winner.post(t, "/v1/"+referral+":accept", obj{}).want(t, http.StatusBadRequest, "") // for which group?
		accepted := winner.post(t, "/v1/"+referral+":accept", obj{"group": winner.openGroup(t)}).ok(t)
		w.agree(t, accepted.text("membership"))
		winner.attend(t, hospital.becomes(t, referral, "SCHEDULED"), "PRESENT")
		hospital.becomes(t, referral, "ENGAGED")
		if got := hospital.timeline(t, referral); got != "SEND CLAIM ACCEPT SCHEDULE RECORD_ENGAGEMENT" {
			t.Errorf("timeline: %s", got)
		}
	})

	t.Run("a group ends", func(t *testing.T) {
		group := nonprofit.openGroup(t, seats(1), func(g obj) { g["title"] = "Farewell circle" })
		referral, waiting := hospital.refer(t, group), hospital.refer(t, group)
		membership, queued := nonprofit.accept(t, referral), nonprofit.accept(t, waiting)
		w.agree(t, membership)
		expected := hospital.becomes(t, referral, "SCHEDULED")
		nonprofit.post(t, "/v1/"+group+":archive", obj{}).ok(t)
		for _, m := range []string{membership, queued} {
			until(t, "the membership ends", func() *reply { return nonprofit.get(t, "/v1/"+m) },
				func(r *reply) bool { return r.text("state") == "ENDED" && r.text("endReason") == "GROUP_ARCHIVED" })
		}
		until(t, "its sessions are cancelled", func() *reply {
			return nonprofit.get(t, "/v1/sessions?filter="+q(`group = "`+group+`" AND state = SCHEDULED`))
		}, func(r *reply) bool { return len(r.list("sessions")) == 0 })
		if off := nonprofit.get(t, "/v1/"+expected.text("firstSession")).ok(t); off.text("state") != "CANCELLED" {
			t.Errorf("the session that she was expected at: %s", off.body)
		}
		told := until(t, "the hospital learns of it", func() *reply { return hospital.get(t, "/v1/"+referral+"/events") }, func(r *reply) bool {
			return strings.Contains(string(r.body), `"END_MEMBERSHIP"`) && strings.Contains(string(r.body), `"RECORD_SESSION_CANCELLATION"`)
		})
		if !strings.Contains(string(told.body), "group archived") {
			t.Errorf("the timeline does not say why: %s", told.body)
		}
		if gone := w.send(t, http.MethodGet, "/v1/groups:search?query=farewell", "").ok(t); len(gone.list("results")) != 0 {
			t.Errorf("still found: %s", gone.body)
		}
		w.send(t, http.MethodGet, "/v1/"+group, "").want(t, http.StatusNotFound, "NOT_FOUND")
		hospital.post(t, "/v1/referrals", w.person(group)).want(t, http.StatusBadRequest, "")
		nonprofit.post(t, "/v1/series", obj{
			"group": group, "timeZone": "America/Chicago", "duration": "3600s", "localStart": w.now().Add(72 * time.Hour).UTC().Format("2006-01-02T15:04"),
		}).want(t, http.StatusBadRequest, "GROUP_ARCHIVED")
	})
}
