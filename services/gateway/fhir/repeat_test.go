package fhir_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
)

// repeatable is a request that a caller may send again, because it does not know what became of it.
type repeatable struct {
	verb, path, bearer string
	body, other        obj // other is what makes another request of it
	moves              bool
}

// Whatever is written, sent again as it was with its key, at once or later, is answered with the resource as it stands; another body with
// that key is refused, also where it asks for nothing that is not so.
func TestRepeats(t *testing.T) {
	t.Parallel()
	b := newBookings(t)
	nonprofit := b.organization(&partnersv1.Organization{Kind: partnersv1.Organization_NONPROFIT, DisplayName: "Ola"})
	referral, patient := b.placed()
	session := 0
	asked := func(status string) string { return fmt.Sprint(b.post(b.refers, b.request(status))["id"]) }
	taken := func() string {
		id := asked("active")
		b.step(b.receives, id, obj{"status": "accepted"}).want(t, http.StatusOK)
		return id
	}
	wish := func() obj {
		session++
		return b.wish(b.sessions[session], referral, patient)
	}
	changed := func(kind, id, bearer string, changes obj) repeatable {
		body := b.get("/"+kind+"/"+id, bearer).want(t, http.StatusOK).json
		maps.Copy(body, changes)
		return repeatable{verb: http.MethodPut, path: "/" + kind + "/" + id, bearer: bearer, body: body, other: obj{"language": "en-GB"}}
	}
	claimed := func(status string) repeatable {
		id := b.nobodys()
		body := b.claimable(b.receives, "status=requested", id)[id]
		maps.Copy(body, obj{"status": status, "owner": obj{"reference": "Organization/" + b.nonprofit}})
		if status == "accepted" {
			body["output"] = list{output("group", obj{"valueReference": obj{"reference": "HealthcareService/" + b.group}})}
		}
		return repeatable{verb: http.MethodPut, path: "/Task/" + id, bearer: b.receives, body: body, other: obj{"language": "en-GB"}}
	}
	created := func(body, other obj) repeatable {
		return repeatable{verb: http.MethodPost, path: "/" + fmt.Sprint(body["resourceType"]), bearer: b.refers, body: body, other: other}
	}
	for name, next := range map[string]func() repeatable{
		"Task accepted": func() repeatable { return changed("Task", asked("active"), b.receives, obj{"status": "accepted"}) },
		"Task accepted, and moved since": func() repeatable {
			r := changed("Task", asked("active"), b.receives, obj{"status": "accepted"})
			r.moves = true
			return r
		},
		"Task accepted with a number": func() repeatable {
			return changed("Task", asked("active"), b.receives, obj{
				"status": "accepted", "identifier": list{obj{"type": coding(v2, "FILL"), "system": "urn:x:f", "value": "8"}}, "note": list{obj{"text": "We call her."}},
			})
		},
		"Task accepted, BSeR": func() repeatable {
			return changed("Task", asked("active"), b.bserReceives, obj{"status": "accepted", "businessStatus": coding(bserStatuses, "3.0")})
		},
		"Task rejected": func() repeatable {
			return changed("Task", asked("active"), b.receives, obj{
				"status": "rejected", "statusReason": obj{"coding": coding(ownCodes+"reject-reason", "no-capacity")["coding"], "text": "Full until May."},
			})
		},
		"Task with an output": func() repeatable {
			return changed("Task", taken(), b.receives, obj{"status": "in-progress", "output": list{output("session-time", obj{"valueDateTime": "2031-03-04T12:00:00Z"})}})
		},
		"Task completed": func() repeatable {
			return changed("Task", taken(), b.receives, obj{"status": "completed", "output": list{
				output("helped", obj{"valueCodeableConcept": coding(ownCodes+"helped", "yes")}), output("note", obj{"valueString": "She comes."}),
			}})
		},
		"Task cancelled": func() repeatable {
			return changed("Task", asked("active"), b.refers, obj{"status": "cancelled", "statusReason": obj{"text": "She moved."}})
		},
		"Task given to another": func() repeatable {
			return changed("Task", asked("active"), b.refers, obj{"owner": obj{"reference": "Organization/" + nonprofit}})
		},
		"Task claimed":           func() repeatable { return claimed("requested") },
		"Task claimed, accepted": func() repeatable { return claimed("accepted") },
		"ServiceRequest sent":    func() repeatable { return changed("ServiceRequest", asked("draft"), b.refers, obj{"status": "active"}) },
		"ServiceRequest changed": func() repeatable { return changed("ServiceRequest", asked("draft"), b.refers, obj{"priority": "asap"}) },
		"ServiceRequest changed and sent": func() repeatable {
			return changed("ServiceRequest", asked("draft"), b.refers, obj{"priority": "asap", "status": "active"})
		},
		"ServiceRequest revoked": func() repeatable {
			return changed("ServiceRequest", asked("active"), b.refers, obj{"status": "revoked"})
		},
		"Consent narrowed": func() repeatable {
			return changed("Consent", asked("active"), b.refers, obj{"provision": obj{"type": "permit", "code": list{coding(ownCodes+"consent-item", "name")}}})
		},
		"Consent withdrawn": func() repeatable { return changed("Consent", asked("active"), b.refers, obj{"status": "inactive"}) },
		"Patient changed": func() repeatable {
			return changed("Patient", fmt.Sprint(b.post(b.refers, b.person())["id"]), b.refers, obj{"gender": "other"})
		},
		"Appointment cancelled": func() repeatable {
			return changed("Appointment", fmt.Sprint(b.post(b.refers, wish())["id"]), b.refers, obj{"status": "cancelled"})
		},

		"new Task": func() repeatable {
			task := obj{"resourceType": "Task", "status": "requested", "intent": "order", "focus": obj{"reference": "ServiceRequest/" + asked("draft")}, "priority": "asap"}
			return created(task, obj{"priority": "urgent"})
		},
		"new ServiceRequest": func() repeatable { return created(b.request("active"), obj{"priority": "urgent"}) },
		"new Patient":        func() repeatable { return created(b.person(), obj{"gender": "other"}) },
		"new Appointment":    func() repeatable { return created(wish(), obj{"slot": wish()["slot"]}) },
		"new Subscription": func() repeatable {
			wanted := obj{}
			if err := json.Unmarshal([]byte(wantedSubscription()), &wanted); err != nil {
				t.Fatal(err)
			}
			return created(wanted, obj{"reason": "Another"})
		},
	} {
		for _, match := range []bool{false, true} {
			r := next()
			headers := []string{"Idempotency-Key", uuid.NewString()}
			if match && r.verb == http.MethodPut {
				headers = append(headers, "If-Match", fmt.Sprintf(`W/"%v"`, at(r.body, "meta.versionId")))
			}
			answers := make(chan *reply, 2)
			for range 2 {
				go func() { answers <- b.do(r.verb, r.path, r.bearer, text(t, r.body), headers...) }()
			}
			first, copied := <-answers, <-answers
			if first.StatusCode >= 300 || copied.StatusCode != first.StatusCode || copied.json["id"] != first.json["id"] {
				t.Errorf("%s, two at once: %d %s, and %d %s", name, first.StatusCode, first.body, copied.StatusCode, copied.body)
				continue
			}
			id := fmt.Sprint(first.json["id"])
			if r.moves {
				b.step(r.bearer, id, obj{"status": "rejected", "statusReason": obj{"text": "full"}}).want(t, http.StatusOK)
			}
			again := b.do(r.verb, r.path, r.bearer, text(t, r.body), headers...)
			now := first // of a Subscription, which changes by itself
			if r.path != "/Subscription" {
				now = b.get(fmt.Sprintf("/%v/%s", r.body["resourceType"], id), r.bearer).want(t, http.StatusOK)
			}
			if again.StatusCode != first.StatusCode || text(t, dated(again.json)) != text(t, dated(now.json)) || !r.moves && again.json["status"] != first.json["status"] {
				t.Errorf("%s, again: %d %s, it is %s", name, again.StatusCode, again.body, now.body)
			}
			maps.Copy(r.body, r.other)
			other := b.do(r.verb, r.path, r.bearer, text(t, r.body), headers...)
			if other.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(other.issues()), "Idempotency-Key was used") {
				t.Errorf("%s, another body: %d %s", name, other.StatusCode, other.body)
			}
		}
	}
}
