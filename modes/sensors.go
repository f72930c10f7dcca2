package modes

import (
	"os"

	"vft/correlate/sensor"
	"vft/engine/flows"
	"vft/modes/settings"
)

// loadSensors reads the sensors that --sensors names beside the built-in ones. Of
// the built-in ones winscan does not look at vft's own flows: a single flow is
// enough for it, and a host on the internet is probed by thousands a day, whose
// scans the detections tell. Who names a file gets what is in it.
func loadSensors(s *settings.Settings) (all flows.Sensors, err error) {
	if s.Sensors != "" {
		all.Exported, err = readSensors(s.Sensors, func(err error) error {
			return s.Invalid(&s.Sensors, "cannot read %s: %v; vft config show --sensors prints a file to start from", s.Sensors, err)
		})
		all.Captured = all.Exported
		return all, err
	}
	if all.Exported, err = sensor.Parse("sensors.yaml", sensor.BuiltIn()); err != nil {
		return all, err
	}
	all.Captured, err = sensor.Parse("sensors.yaml", []byte("sensors: {winscan: off, spam: off}"))
	return all, err
}

// readSensors reads a file of sensors; unreadable says what to do when that
// cannot be done.
func readSensors(path string, unreadable func(error) error) (sensor.Definitions, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(pathReason(err))
	}
	definitions, err := sensor.Parse(path, text)
	if err != nil {
		return definitions, badUsage(err)
	}
	return definitions, nil
}
