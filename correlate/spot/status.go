package spot

// TailStatus is what one tail knows, for people and programs that look at it.
type TailStatus struct {
	Calibrated    bool    `json:"calibrated"`
	Level         float64 `json:"level"`          // t; in DSPOT a distance to the moving mean
	Threshold     float64 `json:"threshold"`      // z, moving mean included; 0 while not calibrated
	Excesses      int     `json:"excesses"`       // Nt: values ever learned beyond t
	Stored        int     `json:"stored"`         // newest of them that are kept
	Anomalies     int     `json:"anomalies"`      // values beyond z
	Gamma         float64 `json:"gamma"`          // shape of the tail
	Sigma         float64 `json:"sigma"`          // scale of the tail
	LogLikelihood float64 `json:"log_likelihood"` // of the stored excesses
}

// Status returns what the tail of a side knows; the zero value for a side that is
// not watched.
func (s *Spot) Status(side Side) TailStatus {
	if !s.watched(side) {
		return TailStatus{}
	}
	t := s.tail(side)
	z, ok := s.Threshold(side)
	return TailStatus{
		Calibrated: ok, Threshold: z,
		Level:    float64(side) * t.level,
		Excesses: t.excesses, Stored: len(t.peaks), Anomalies: t.anomalies,
		Gamma: t.fit.gamma, Sigma: t.fit.sigma, LogLikelihood: t.fit.logLik,
	}
}
