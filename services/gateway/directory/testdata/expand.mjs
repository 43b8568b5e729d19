// Reads a calendar from standard input and prints, as JSON, the instants of what takes place in it: "start end" each, in order.
// The one argument is the ical.js that reads it.
import { readFileSync } from "node:fs";
const { default: ICAL } = await import(process.argv[2]);

const calendar = new ICAL.Component(ICAL.parse(readFileSync(0, "utf8")));
for (const zone of calendar.getAllSubcomponents("vtimezone")) {
  ICAL.TimezoneService.register(new ICAL.Timezone(zone));
}
const events = calendar.getAllSubcomponents("vevent");
const instant = (time) => time.toJSDate().toISOString().replace(".000Z", "Z");
const found = [];
const add = (item, start, end) => {
  if (item.component.getFirstPropertyValue("status") !== "CANCELLED") {
    found.push(instant(start) + " " + instant(end));
  }
};
for (const component of events) {
  if (component.getFirstProperty("recurrence-id")) continue;
  const uid = component.getFirstPropertyValue("uid");
  const exceptions = events.filter((e) => e.getFirstProperty("recurrence-id") && e.getFirstPropertyValue("uid") === uid);
  const event = new ICAL.Event(component, { exceptions });
  if (!event.isRecurring()) {
    add(event, event.startDate, event.endDate);
    continue;
  }
  const times = event.iterator();
  for (let next = times.next(); next; next = times.next()) {
    const o = event.getOccurrenceDetails(next);
    add(o.item, o.startDate, o.endDate);
  }
}
process.stdout.write(JSON.stringify(found.sort()));
