import type { ControlSubject } from "../control/control-routes.js";
import { type ControlListen, type OpenControl, openControl } from "../control/open-control.js";
import type { Tell } from "../diagnostics/tell.js";
import { openHubble } from "../hubble/open-hubble.js";

/** Where a process that enforces answers. */
export interface Listen extends ControlListen {
  /** `HOST:PORT` or `unix:/path` for Hubble's clients; absent: nowhere. */
  readonly hubbleListen?: string;
}

export interface OpenListeners extends OpenControl {
  /** Where Hubble's clients are answered; absent: nowhere. */
  readonly hubble?: string;
}

/** Opens everything that a process answers on. Errors: RefusalError; then nothing is open. */
export async function openListeners(
  subject: ControlSubject,
  { hubbleListen, ...listen }: Listen,
  tell: Tell,
): Promise<OpenListeners> {
  const control = await openControl(subject, listen, tell);
  if (hubbleListen === undefined) return control;
  try {
    const { flows, version } = subject;
    const hubble = await openHubble(hubbleListen, { flows, version, tell });
    const close = async () => void (await Promise.all([control.close(), hubble.close()]));
    return { ...control, hubble: hubble.at, close };
  } catch (error) {
    await control.close();
    throw error;
  }
}
