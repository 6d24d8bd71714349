import type { ControlSubject } from "../control/control-routes.js";
import { type ControlListen, type OpenControl, openControl } from "../control/open-control.js";
import type { Tell } from "../diagnostics/tell.js";
import type { HubbleHandoff } from "../hubble/handoff.js";
import { type OpenHubble, openHubble, type PassOn } from "../hubble/open-hubble.js";

/** Where a process that enforces answers. */
export interface Listen extends ControlListen {
  /** `HOST:PORT` or `unix:/path` for Hubble's clients; absent: nowhere. */
  readonly hubbleListen?: string;
}

export interface OpenListeners extends OpenControl {
  /** Where Hubble's clients are answered; absent: nowhere. */
  readonly hubble?: string;
  /** Closes everything but what answers Hubble's clients, which is left to a successor (OpenHubble). */
  handOn(): Promise<PassOn | undefined>;
}

/**
 * Opens everything that a process answers on. `handoff` is what a predecessor has left of it. Owner: takes it.
 *
 * Errors: RefusalError; then nothing is open.
 */
export async function openListeners(
  subject: ControlSubject,
  { hubbleListen, ...listen }: Listen,
  tell: Tell,
  handoff?: HubbleHandoff,
): Promise<OpenListeners> {
  let measured: OpenHubble | undefined;
  const counted = { ...subject, hubble: () => measured?.counts };
  const control = await openControl(counted, listen, tell);
  if (hubbleListen === undefined) {
    return { ...control, handOn: async () => void (await control.close()) };
  }
  try {
    const { flows, version } = subject;
    const about = { flows, version, tell, ...(handoff && { handoff }) };
    const hubble = await openHubble(hubbleListen, about);
    measured = hubble;
    const both = <Left>(left: Promise<Left>) =>
      Promise.all([left, control.close()]).then(([first]) => first);
    return {
      ...control,
      hubble: hubble.at,
      close: () => both(hubble.close()),
      handOn: () => both(hubble.handOn()),
    };
  } catch (error) {
    await control.close();
    throw error;
  }
}
