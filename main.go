// Command vft finds who touches what nobody should touch: trap ports on
// ordinary hosts, one alert for a whole fleet.
package main

func main() {}
